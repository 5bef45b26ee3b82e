'use strict';
// Scopes of leaktrace: a scope is marked by failing to open a file below /.leaktrace, which
// leaktrace sees. Without leaktrace a mark is one failing open and does nothing else.

const fs = require('node:fs');
const { createHash } = require('node:crypto');

// leaktrace reads 512 bytes, the verb and its slash included.
const LONGEST = 480;

function mark(verb, name = '') {
  let bytes = Buffer.from(name.replaceAll('\0', '\\0'));
  if (bytes.length > LONGEST) {
    const digest = createHash('sha256').update(bytes).digest('hex').slice(0, 12);
    bytes = Buffer.concat([bytes.subarray(0, LONGEST - 14), Buffer.from('..' + digest)]);
  }
  try {
    fs.closeSync(fs.openSync(Buffer.concat([Buffer.from(`/.leaktrace/${verb}/`), bytes]), 'r'));
  } catch {
    // Nothing is there: that is the mark.
  }
}

module.exports = { mark };
