// Pages of other origins: what Chromium lets them do, after its own preflights.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after } from "node:test";

import { holds } from "../src/browser.mjs";
import { eventually } from "../src/eventually.mjs";
import { Origin } from "../src/origin.mjs";
import { stories } from "../src/stories.mjs";

const KEY = "the-key-of-acme";
const friend = await Origin.start(), stranger = await Origin.start();
after(() => Promise.all([friend.close(), stranger.close()]));

const { story, world } = stories({
  gateway: `cors_origins = ["${friend.url}"]`,
  auth: `
anonymous = false
token_keys = ["${"5a".repeat(32)}"]
[[auth.keys]]
owner = "acme"
sha256 = "${createHash("sha256").update(KEY).digest("hex")}"
scopes = ["submit", "read"]
`,
});

/** A tab on a page of `origin`, with a function `call` that says what a page could read of an answer. */
async function visit(context, origin) {
  const tab = await context.newPage();
  await tab.addInitScript(({ base, key }) => {
    window.call = async (method, path, { headers = {}, body } = {}) => {
      try {
        const answer = await fetch(base + path, { method, headers: { Authorization: `Bearer ${key}`, ...headers }, body });
        return { status: answer.status, location: answer.headers.get("Location"), etag: answer.headers.get("ETag"), text: await answer.text() };
      } catch (error) {
        return { error: error.name };
      }
    };
  }, { base: world.system.url, key: KEY });
  await tab.goto(origin.url);
  return tab;
}

const call = (tab, ...args) => tab.evaluate((args) => window.call(...args), args);
const submission = (payload) => ({
  headers: { "Content-Type": "application/json", "Idempotency-Key": '"a key of its own"', Prefer: "wait=0" },
  body: JSON.stringify({ task: "narrate", payload }),
});

story("a configured origin's page submits, polls, cancels, and streams", async (page, context) => {
  const tab = await visit(context, friend);
  const accepted = await call(tab, "POST", "/api/jobs", submission({ tokens: 6000, perSecond: 40 }));
  assert.equal(accepted.status, 202, JSON.stringify(accepted));
  const { jobId } = JSON.parse(accepted.text);
  assert.equal(accepted.location, `/api/jobs/${jobId}`, "it may read the header");
  const polled = await call(tab, "GET", `/api/jobs/${jobId}`, { headers: { "If-None-Match": '"x"' } });
  assert.equal(polled.status, 200);
  assert.equal(polled.etag, `"${JSON.parse(polled.text).lastEventId}"`);
  const refused = await call(tab, "GET", "/api/jobs/absent");
  assert.equal(JSON.parse(refused.text).type, "urn:jobcast:not-found", "and why it is refused");

  // An EventSource has no headers of its own, so no key; it comes back with its Last-Event-ID.
  const { token } = JSON.parse((await call(tab, "POST", "/api/tokens", { headers: { "Content-Type": "application/json" }, body: JSON.stringify({ job: jobId }) })).text);
  await tab.evaluate((url) => {
    window.seen = [];
    window.opened = 0;
    const source = new EventSource(url);
    source.onopen = () => { window.opened++; };
    for (const name of ["queued", "started", "progress", "output", "completed", "cancelled"]) {
      source.addEventListener(name, (event) => { window.seen.push([name, parseInt(event.lastEventId, 10)]); });
    }
  }, `${world.system.url}/api/jobs/${jobId}/events?token=${token}`);
  for (const opened of [1, 2, 3]) {
    await holds(tab, (opened) => window.opened >= opened && window.seen.length > 30 * opened, opened);
    world.system.wire.cut();
  }
  assert.equal((await call(tab, "POST", `/api/jobs/${jobId}/cancel`)).status, 202);
  await holds(tab, () => window.seen.at(-1)?.[0] === "cancelled");
  const seen = await tab.evaluate(() => window.seen);
  assert.deepEqual(seen.map(([, seq]) => seq), seen.map((_, index) => index + 1), "every event once, in order");

  // Clients that imitate it with fetch send the header themselves, which takes a preflight.
  const rest = await call(tab, "GET", `/api/jobs/${jobId}/events`, { headers: { "Last-Event-ID": String(seen.length - 1), Accept: "text/event-stream", "Cache-Control": "no-store" } });
  assert.equal(rest.status, 200, JSON.stringify(rest));
  assert.deepEqual(rest.text.match(/^event: .*$/gm), ["event: cancelled"]);
});

story("another origin's page can do nothing", async (page, context) => {
  const tab = await visit(context, stranger);
  const before = world.system.jobs().length;
  const [known] = world.system.jobs();
  assert.deepEqual(await call(tab, "POST", "/api/jobs", submission(null)), { error: "TypeError" });
  assert.deepEqual(await call(tab, "GET", `/api/jobs/${known}`), { error: "TypeError" });
  assert.deepEqual(await call(tab, "POST", `/api/jobs/${known}/cancel`), { error: "TypeError" });
  const state = await eventually("its EventSource gives up", () => tab.evaluate((url) => new Promise((resolve) => {
    const source = new EventSource(url);
    source.onopen = () => resolve("open");
    source.onerror = () => resolve(source.readyState === EventSource.CLOSED ? "closed" : null);
  }), `${world.system.url}/api/jobs/${known}/events`));
  assert.equal(state, "closed");
  // A submission as a form could send it, without a preflight, isn't taken either.
  const simple = await tab.evaluate((url) => fetch(url, { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body: '{"task":"narrate"}' }).then(() => "sent"), `${world.system.url}/api/jobs`);
  assert.equal(simple, "sent");
  assert.equal(world.system.jobs().length, before);
});
