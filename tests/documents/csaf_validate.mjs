// Judges CSAF documents by the schema and the mandatory tests; prints what is wrong as one JSON object.
import { readFileSync } from 'node:fs'
import validate from '@secvisogram/csaf-validator-lib/validate.js'
import * as schemaTests from '@secvisogram/csaf-validator-lib/schemaTests.js'
import * as mandatoryTests from '@secvisogram/csaf-validator-lib/mandatoryTests.js'

const tests = [...Object.values(schemaTests), ...Object.values(mandatoryTests)]
const refused = {}
for (const file of process.argv.slice(2)) {
  const found = await validate(tests, JSON.parse(readFileSync(file, 'utf-8')))
  if (!found.isValid) {
    refused[file] = found.tests.filter((test) => !test.isValid).map((test) => [test.name, test.errors])
  }
}
console.log(JSON.stringify({ tests: tests.length, refused }))
