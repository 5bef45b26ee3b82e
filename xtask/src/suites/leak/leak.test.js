'use strict'

const fs = require('node:fs')
const { test } = require('node:test')

test('leak', () => {
  fs.writeFileSync(`/dev/shm/leak-${process.pid}`, 'x')
})
