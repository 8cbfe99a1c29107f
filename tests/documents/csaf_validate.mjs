// Judges CSAF documents by the schema, the mandatory and the optional tests. The first argument is a file with
// their paths. Prints one JSON object: the number of tests, what is refused, and the warnings of optional tests.
import { readFileSync } from 'node:fs'
import validate from '@secvisogram/csaf-validator-lib/validate.js'
import * as schemaTests from '@secvisogram/csaf-validator-lib/schemaTests.js'
import * as mandatoryTests from '@secvisogram/csaf-validator-lib/mandatoryTests.js'
import * as optionalTests from '@secvisogram/csaf-validator-lib/optionalTests.js'

const tests = [schemaTests, mandatoryTests, optionalTests].flatMap((group) => Object.values(group))
const refused = {}
const warnings = {}
for (const file of readFileSync(process.argv[2], 'utf-8').trim().split('\n')) {
  const found = await validate(tests, JSON.parse(readFileSync(file, 'utf-8')))
  for (const test of found.tests) {
    if (!test.isValid) (refused[file] ??= []).push([test.name, test.errors])
    for (const warning of test.warnings ?? []) (warnings[test.name] ??= []).push([file, warning.instancePath])
  }
}
console.log(JSON.stringify({ tests: tests.map((test) => test.name), refused, warnings }))
