// node's own test runner: every test is a scope of leaktrace.
//
//   sudo leaktrace check -f junit:leaks.xml -- node --test --import ./node-test.mjs
//
// As for jest the scopes are plain ones, and a leak is what is still there when the file is done.

import path from 'node:path';
import { after, afterEach, before, beforeEach } from 'node:test';
import { createRequire } from 'node:module';

const { mark } = createRequire(import.meta.url)('./mark.js');

// The runner itself is started with --test; each file is a process of its own, with its path.
if (!process.execArgv.includes('--test')) {
  const file = path.relative(process.cwd(), process.argv[1] ?? '');
  const name = (test) => `${file}::${test.fullName ?? test.name}`;
  before(() => mark('keep'));
  after(() => mark('end'));
  beforeEach((test) => mark('plain', name(test)));
  afterEach((test) => mark('end', name(test)));
}
