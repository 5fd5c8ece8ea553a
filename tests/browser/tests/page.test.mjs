// The page, used as a person uses it.
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";

import { Page } from "../src/browser.mjs";
import { isWholeHistory, isWholeStory } from "../src/checks.mjs";
import { eventually } from "../src/eventually.mjs";
import { Remote } from "../src/remote.mjs";
import { stories } from "../src/stories.mjs";
import { REPOSITORY } from "../src/system.mjs";

const { story, world } = stories();

story("each example task is submitted and completes", async (page) => {
  await page.tab.getByText("No jobs yet").waitFor();
  // Every move, however seldom the page is looked at on a busy machine.
  await page.tab.evaluate(() => {
    window.moves = [];
    const note = ({ target }) => window.moves.push([target.closest(".job").querySelector(".id").textContent, target.value]);
    new MutationObserver((changes) => changes.forEach(note)).observe(document.body, { subtree: true, attributeFilter: ["value"] });
  });
  const jobs = {};
  for (const task of ["wordcount", "narrate", "transcode", "shout"]) jobs[task] = await page.submit(task);
  await eventually("the bar moves", async () => {
    const moves = await page.tab.evaluate(() => window.moves);
    return new Set(moves.filter(([id]) => id === jobs.wordcount).map(([, value]) => value)).size > 5;
  });
  await page.shows(jobs.shout, "status", "Waiting");
  world.system.run("python3", [join(REPOSITORY, "examples/python/worker.py"), world.system.url]);
  for (const job of Object.values(jobs)) await page.shows(job, "status", "Completed");
  await page.shows(jobs.wordcount, "result", /"words": 142599\b/);
  await page.shows(jobs.wordcount, "percent", "100 %");
  await page.shows(jobs.transcode, "result", /"duration": 60\b/);
  await page.shows(jobs.shout, "result", "SO QUIET");
  await isWholeStory(page, world.system, jobs.narrate);
  for (const job of Object.values(jobs)) await isWholeHistory(page, job);
  const { path } = (await page.seen(jobs.transcode)).at(-1)[2].result;
  await rm(join(REPOSITORY, path));
  const progress = (await page.seen(jobs.wordcount)).filter(([name]) => name === "progress");
  assert.ok(progress.length > 50, `${progress.length} steps of the bar`);
});

story("a job that fails says why, and a payload that is no JSON isn't sent", async (page) => {
  const id = await page.submit("wordcount", { path: "absent.txt" });
  await page.shows(id, "status", "Failed");
  await page.shows(id, "error", "There is no file `absent.txt`");
  const jobs = world.system.jobs().length;
  await page.tab.getByLabel("Payload (JSON)").fill("{");
  await page.tab.getByRole("button", { name: "Submit" }).click();
  await page.tab.getByText("The payload is no JSON").waitFor();
  await page.tab.getByRole("radio", { name: "other…" }).check();
  await page.tab.getByLabel("Name of the task").fill("absent");
  await page.tab.getByRole("button", { name: "Submit" }).click();
  await page.tab.getByText("There is no task `absent`").waitFor();
  assert.equal(world.system.jobs().length, jobs);
});

story("who wants no motion sees none, while a job runs", async (page) => {
  const id = await page.submit("narrate", { tokens: 10000, perSecond: 50 });
  await page.grown(id, 10);
  const names = () => document.getAnimations().map((animation) => animation.animationName);
  assert.deepEqual(await page.tab.evaluate(names), []);
  await page.tab.emulateMedia({ reducedMotion: "no-preference" });
  assert.deepEqual(await page.tab.evaluate(names), ["beat"], "else it would be no wonder");
  await page.tab.emulateMedia({ reducedMotion: "reduce" });
  await page.card(id).getByRole("button", { name: "Cancel narrate" }).click();
  await page.shows(id, "status", "Cancelled");
});

story("a cancelled job stops, and can be taken off the list", async (page) => {
  const id = await page.submit("narrate", { tokens: 10000, perSecond: 50 });
  await page.grown(id, 100);
  await page.card(id).getByRole("button", { name: "Cancel narrate" }).click();
  await page.shows(id, "status", "Cancelled");
  await isWholeHistory(page, id);
  assert.equal((await world.system.call("GET", `/api/jobs/${id}`)).status, "cancelled");
  await page.card(id).getByRole("button", { name: "Remove" }).click();
  await page.tab.getByText("No jobs yet").waitFor();
  await page.tab.reload();
  await page.tab.getByText("No jobs yet").waitFor();
});

story("gateways are killed in mid-stream and come back", async (page) => {
  const id = await page.submit("narrate", { tokens: 1000, perSecond: 40 });
  await page.grown(id, 200);
  const serving = await eventually("one gateway has its stream, and none has another's any more", async () => {
    const streams = [await world.system.openStreams(0), await world.system.openStreams(1)];
    return streams[0] + streams[1] === 1 && [streams.indexOf(1)];
  });
  // The other one takes over.
  await world.system.gateways[serving[0]].kill();
  await page.shows(id, "trace", "reconnected");
  await page.grown(id, 600);
  // There is no other one: until one comes back, the load balancer can only say 503, at which an EventSource gives up.
  await world.system.gateways[1 - serving[0]].kill();
  await page.shows(id, "status", "Reconnecting");
  for (const index of [0, 1]) world.system.startGateway(index);
  await isWholeStory(page, world.system, id);
  await isWholeHistory(page, id);
  for (const index of [0, 1]) await world.system.ready(index);
});

story("a submission whose answer never came makes one job", async (page) => {
  const jobs = world.system.jobs().length;
  let lost = 0;
  await page.tab.route("**/api/jobs", async (route) => {
    if (lost++ < 2) await route.fetch();
    await (lost <= 2 ? route.abort("connectionreset") : route.continue());
  });
  const id = await page.submit("narrate", { tokens: 20, perSecond: 50 });
  await isWholeStory(page, world.system, id);
  assert.deepEqual([lost, world.system.jobs().length - jobs], [3, 1]);
});

story("the text is whole after 20 reloads in the middle of it", async (page) => {
  for (let tokens = 700, inTheMiddle = false; !inTheMiddle; tokens *= 2) {
    const id = await page.submit("narrate", { tokens, perSecond: 40 });
    for (let reload = 1; reload <= 20; reload++) {
      await page.grown(id, 30 * reload);
      await page.tab.reload();
    }
    // On a busy machine it may take a longer story.
    inTheMiddle = (await world.system.call("GET", `/api/jobs/${id}`)).status === "processing";
    await isWholeStory(page, world.system, id);
    await isWholeHistory(page, id);
  }
});

story("a job is followed by its id, and other tabs follow what one submits", async (page, context) => {
  const other = await Page.open(context, world.system);
  const { jobId } = await world.system.call("POST", "/api/jobs", { task: "narrate", payload: { tokens: 100 } });
  await page.tab.getByLabel("Follow a job by its id").fill("nonsense");
  await page.tab.getByRole("button", { name: "Follow" }).click();
  await page.tab.getByText("A job's id looks like").waitFor();
  await page.tab.getByLabel("Follow a job by its id").fill(` ${jobId.toUpperCase()} `);
  await page.tab.getByRole("button", { name: "Follow" }).click();
  for (const tab of [page, other]) {
    await isWholeStory(tab, world.system, jobId);
    assert.equal(await tab.card(jobId).locator("h3").textContent(), "narrate");
    await isWholeHistory(tab, jobId);
  }
  const unknown = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";
  await page.tab.getByLabel("Follow a job by its id").fill(unknown);
  await page.tab.getByRole("button", { name: "Follow" }).click();
  await page.shows(unknown, "error", "The server doesn't know this job");
});

story("more jobs than a browser has connections", async (page) => {
  const ids = [];
  for (let n = 0; n < 9; n++) ids.push(await page.submit("remote", n));
  // The calls still get through, and whatever happens is seen.
  const narrated = await page.submit("narrate", { tokens: 100, perSecond: 50 });
  await isWholeStory(page, world.system, narrated);
  for (const id of ids) {
    const worker = await Remote.claim(world.system);
    assert.equal(worker.job, id, "first come, first served");
    await page.shows(id, "status", "Running");
    await worker.text(`text of ${id}`);
    await worker.complete({ of: id });
  }
  for (const id of ids) {
    await page.shows(id, "status", "Completed");
    await page.shows(id, "text", `text of ${id}`);
    await isWholeHistory(page, id);
  }
});
