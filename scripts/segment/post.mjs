// Posts events to a collector with Segment's own Node SDK, unchanged, and says what became of them.
//
//   npm ci && node post.mjs http://127.0.0.1:8080 WRITE_KEY events.json
//
// The file holds a JSON array of calls as the SDK takes them, with a `type`:
//
//   [{ "type": "track", "userId": "u1", "event": "Cart Updated", "timestamp": "2026-01-01T10:00:00Z",
//      "properties": { "cart_id": "c1", "item_count": 1 } },
//    { "type": "identify", "userId": "u1", "traits": { "email": "u1@customers.example" } }]
//
// `-` reads the array from standard input. Prints one line of JSON: {"posted":2,"delivered":2,"failed":0}.
// Exit code 0 if every event was delivered, 1 if not, 2 for bad usage.

import { readFileSync } from 'node:fs'
import { Analytics } from '@segment/analytics-node'

const CALLS = ['track', 'identify', 'page', 'screen', 'group', 'alias']

const [host, writeKey, file] = process.argv.slice(2)
if (!host || !writeKey || !file) {
  console.error('usage: node post.mjs HOST_URL WRITE_KEY EVENTS.json')
  process.exit(2)
}
const events = JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8'))
const unknown = Array.isArray(events) ? events.find((event) => !CALLS.includes(event.type)) : events
if (unknown) {
  console.error(`not a list of SDK calls: ${JSON.stringify(unknown)}; a call has a type: ${CALLS.join(', ')}`)
  process.exit(2)
}

const failures = new Map()
let delivered = 0

const analytics = new Analytics({
  host,
  writeKey,
  flushAt: 20, // events in one request to /v1/batch
  flushInterval: 100, // ms until a smaller batch goes out
  maxRetries: 3,
})
analytics.on('error', ({ code, reason }) => failures.set(code, String(reason)))

const outcomes = events.map(
  ({ type, timestamp, ...call }) =>
    new Promise((resolve) => {
      const message = timestamp ? { ...call, timestamp: new Date(timestamp) } : call
      analytics[type](message, (error) => {
        if (!error) delivered += 1
        resolve()
      })
    }),
)
await analytics.closeAndFlush({ timeout: 20_000 })
// An event that the SDK gave up on at close has no outcome: it counts as failed.
await Promise.race([Promise.all(outcomes), new Promise((resolve) => setTimeout(resolve, 1_000))])
const failed = events.length - delivered

console.log(JSON.stringify({ posted: events.length, delivered, failed }))
for (const [code, reason] of failures) console.error(`${code}: ${reason}`)
process.exit(failed === 0 ? 0 : 1)
