// The clients of the article that Jobcast began from, as they are written there, unchanged.
import assert from "node:assert/strict";

import { holds } from "../src/browser.mjs";
import { eventually } from "../src/eventually.mjs";
import { Remote } from "../src/remote.mjs";
import { stories } from "../src/stories.mjs";

const { story, world } = stories({ gateway: 'article = true\ndefault_task = "remote"' });

/** Opens an EventSource that submits; what it fires is kept in `window.heard`, as [name, data, id]. */
function listen(page, data) {
  return page.tab.evaluate((data) => {
    window.heard = [];
    window.breaks = 0;
    const source = window.source = new EventSource(`/api/process-sse?data=${encodeURIComponent(JSON.stringify(data))}`);
    for (const name of ["started", "progress", "completed", "error"]) {
      source.addEventListener(name, (event) => {
        // EventSource fires an `error` of its own too, without data, at each break.
        if (event.data === undefined) window.breaks++; else window.heard.push([name, JSON.parse(event.data), event.lastEventId]);
      });
    }
    for (const name of ["message", "queued", "output", "failed", "cancelled"]) source.addEventListener(name, () => window.heard.push([name]));
  }, data);
}

const heard = (page) => page.tab.evaluate(() => window.heard);
const hears = (page, name) => holds(page.tab, (name) => window.heard.some(([one]) => one === name), name);
const closed = (page) => holds(page.tab, () => window.source.readyState === EventSource.CLOSED);
const breaks = (page) => page.tab.evaluate(() => window.breaks);

/** Breaks all connections, and waits until the EventSource has noticed and is back. */
async function breakAndReturn(page) {
  const before = await breaks(page);
  world.system.wire.cut();
  await eventually("it noticed", async () => (await breaks(page)) > before);
  await holds(page.tab, () => window.source.readyState === EventSource.OPEN);
}

story("an EventSource hears started, progress and completed; coming back it never submits again", async (page) => {
  await listen(page, { file: "a.csv" });
  const [id] = await eventually("it has submitted", () => { const jobs = world.system.jobs(); return jobs.length && jobs; });
  await holds(page.tab, () => window.source.readyState === EventSource.OPEN);
  // While it is queued, before anything was fired: the head had the id already.
  await breakAndReturn(page);
  const worker = await Remote.claim(world.system);
  assert.equal(worker.job, id);
  await hears(page, "started");
  await breakAndReturn(page);
  await worker.progress(50, "half-way");
  await hears(page, "progress");
  await worker.text("no word of this in the article");
  // It ends while the EventSource is away.
  const before = await breaks(page);
  world.system.wire.unplug();
  world.system.wire.cut();
  await eventually("it noticed", async () => (await breaks(page)) > before);
  await worker.complete({ rows: 3 });
  world.system.wire.mend();
  // Where it has come back already, to nobody: an EventSource waits there for good.
  world.system.wire.cut();
  await hears(page, "completed");
  // Nobody closed it: it comes back once more, and 204 stops it.
  await closed(page);
  const said = (progress, result) => ({ jobId: id, progress, result, error: null });
  const all = await heard(page);
  assert.deepEqual(all.map(([name, data]) => [name, data]), [
    ["started", said(null, null)], ["progress", said(50, null)], ["completed", said(100, { rows: 3 })],
  ]);
  assert.ok(all.every(([, , cursor]) => cursor.startsWith(`${id}:`)));
  assert.deepEqual(world.system.jobs(), [id], "one job, however often it came back");
});

story("failed and cancelled are errors with data", async (page) => {
  await listen(page, 1);
  const worker = await Remote.claim(world.system);
  await world.system.call("POST", `/api/work/${worker.job}/fail`, { leaseToken: worker.token, error: "no such file" });
  await hears(page, "error");
  await closed(page);
  assert.deepEqual((await heard(page)).map(([name, { error }]) => [name, error]), [["started", null], ["error", "no such file"]]);

  await listen(page, 2);
  const other = await Remote.claim(world.system);
  await hears(page, "started");
  await world.system.call("POST", `/api/jobs/${other.job}/cancel`);
  await hears(page, "error");
  await closed(page);
  assert.match((await heard(page)).at(-1)[1].error, /cancelled/);
});

story("a page submits and polls with backoff", async (page) => {
  const polling = page.tab.evaluate(async () => {
    const answer = await fetch("/api/process", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ file: "a.csv" }) });
    const { jobId, statusUrl } = await answer.json();
    for (let wait = 50, polls = 1; ; wait = Math.min(wait * 1.5, 1000), polls++) {
      const job = await (await fetch(statusUrl)).json();
      if (job.status === "completed" || job.status === "failed") return { status: answer.status, jobId, job, polls };
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  });
  const worker = await Remote.claim(world.system);
  await worker.progress(30);
  await worker.complete("done");
  const { status, jobId, job } = await polling;
  assert.deepEqual([status, jobId, job.status, job.result], [202, worker.job, "completed", "done"]);
});
