// The page, when the server can't tell all of a job's history any more, or tells another one.
import assert from "node:assert/strict";

import { eventually } from "../src/eventually.mjs";
import { Remote } from "../src/remote.mjs";
import { stories } from "../src/stories.mjs";

const { story, world } = stories();

/** A running job that has said these pieces, an event each, and the page shows them. */
async function said(page, ...pieces) {
  const id = await page.submit("remote", null);
  const worker = await Remote.claim(world.system);
  for (const piece of pieces) await worker.text(piece);
  await page.shows(id, "text", pieces.join(""));
  return { id, worker };
}

/** Makes the job what it was when `remember` was called, as a failover to a replica that lags does. Nobody is told. */
function remember(id) {
  const { system } = world;
  const keys = ["job", "log"].map((what) => system.key(what, id));
  for (const key of keys) assert.equal(system.redisCli("COPY", key, `${key}:saved`, "REPLACE"), "1");
  return () => { for (const key of keys) assert.equal(system.redisCli("COPY", `${key}:saved`, key, "REPLACE"), "1"); };
}

/** Waits until the page shows this text of the job, and no other. */
const holds = (page, id, text) => eventually(`the text is ${text}`, async () => (await page.text(id)) === text);

const reasons = async (page, id) => (await page.seen(id)).filter(([name]) => name === "snapshot").map(([, , data]) => data.reason);

story("the log no longer reaches back to the beginning", async (page) => {
  const { id, worker } = await said(page, "one ", "two ", "three ", "four ");
  await worker.progress(40, "so far");
  await page.shows(id, "percent", "40 %");
  // Its first four events: queued, started, and two of the texts.
  world.system.redisCli("LPOP", world.system.key("log", id), "4");
  await page.tab.reload();
  await page.shows(id, "note", "The server keeps the newest events alone");
  await holds(page, id, "three four ");
  await page.shows(id, "status", "Running");
  await page.shows(id, "message", "so far");
  await worker.text("five");
  await worker.complete(5);
  await page.shows(id, "status", "Completed");
  await holds(page, id, "three four five");
  assert.deepEqual(await reasons(page, id), ["trimmed"]);

  // Of an ended job the snapshot has the end already; the rest is told all the same.
  await page.tab.reload();
  await page.shows(id, "result", "5");
  await holds(page, id, "three four five");
  await eventually("the end is told", async () => (await page.seen(id)).at(-1)[0] === "completed");
});

story("Redis lost what the page has seen", async (page) => {
  const { id, worker } = await said(page, "kept ");
  const rewind = remember(id);
  await worker.text("lost ");
  await worker.progress(70, "never was");
  await page.shows(id, "percent", "70 %");
  await holds(page, id, "kept lost ");
  rewind();
  await page.shows(id, "note", "The server has lost its newest events");
  await holds(page, id, "kept ");
  assert.equal(await page.card(id).locator(".message").textContent(), "");
  await worker.text("anew");
  await worker.complete("done");
  await page.shows(id, "status", "Completed");
  await holds(page, id, "kept anew");
  assert.deepEqual(await reasons(page, id), ["rewound"]);
});

story("Redis lost it while the page was away, and the end with it", async (page) => {
  const { id, worker } = await said(page, "kept ");
  const rewind = remember(id);
  await worker.text("lost ");
  await holds(page, id, "kept lost ");
  world.system.wire.unplug();
  await worker.complete("too early");
  rewind();
  world.system.wire.cut();
  world.system.wire.mend();
  await page.shows(id, "note", "The server has lost its newest events");
  await holds(page, id, "kept ");
  await page.shows(id, "status", "Running");
  await worker.complete("done");
  await page.shows(id, "result", "done");
  assert.deepEqual(await reasons(page, id), ["rewound"]);
});
