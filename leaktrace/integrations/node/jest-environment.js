'use strict';
// A jest environment: every test is a scope of leaktrace.
//
//   jest.config.js: testEnvironment: '<path>/jest-environment.js'
//   sudo leaktrace check -f junit:leaks.xml -- npx jest
//
// node makes threads, an epoll fd and eventfds for itself when they are first needed, so the
// scopes are plain ones: files and sockets that outlive a test and are still there when its file
// is done are its leaks. What beforeAll opens is no test's.

const path = require('node:path');
const { TestEnvironment } = require('jest-environment-node');
const { mark } = require('./mark.js');

class LeaktraceEnvironment extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    this.file = path.relative(config.projectConfig.rootDir, context.testPath);
  }

  async setup() {
    await super.setup();
    mark('keep');
  }

  async teardown() {
    await super.teardown();
    mark('end');
  }

  handleTestEvent(event) {
    if (event.name === 'test_start') {
      mark('plain', this.nameOf(event.test));
    } else if (event.name === 'test_done') {
      mark('end', this.nameOf(event.test));
    }
  }

  nameOf(test) {
    const words = [test.name];
    for (let block = test.parent; block && block.parent; block = block.parent) {
      words.unshift(block.name);
    }
    return `${this.file}::${words.join(' > ')}`;
  }
}

module.exports = LeaktraceEnvironment;
