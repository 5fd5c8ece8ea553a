// The page, when the network or the machine under it goes away and comes back.
import assert from "node:assert/strict";

import { isWholeHistory, isWholeStory } from "../src/checks.mjs";
import { eventually, pause } from "../src/eventually.mjs";
import { stories } from "../src/stories.mjs";

const { story, world } = stories();

const submit = async (page, tokens = 700) => {
  const id = await page.submit("narrate", { tokens, perSecond: 40 });
  await page.grown(id, 200);
  return id;
};

story("the network is gone for 10 s", async (page, context) => {
  const id = await submit(page, 1200);
  world.system.wire.unplug();
  await context.setOffline(true);
  await page.shows(id, "status", "Reconnecting");
  const before = await page.text(id);
  await pause(10_000);
  assert.equal(await page.text(id), before, "nothing came through");
  world.system.wire.mend();
  await context.setOffline(false);
  await page.grown(id, before.length + 200);
  await page.shows(id, "status", "Running");
  await isWholeStory(page, world.system, id);
  await isWholeHistory(page, id);
});

story("connections break again and again", async (page) => {
  const id = await submit(page);
  for (let cut = 1; cut <= 8; cut++) {
    world.system.wire.cut();
    await page.grown(id, 200 + 150 * cut);
  }
  await isWholeStory(page, world.system, id);
  await isWholeHistory(page, id);
});

story("a laptop sleeps, and its connections are dead when it wakes", async (page) => {
  const id = await submit(page);
  const held = (await page.text(id)).length;
  world.chromium.sleep();
  world.system.wire.kill();
  await pause(16_000);
  world.chromium.wake();
  const woken = Date.now();
  await page.grown(id, held + 100);
  assert.ok(Date.now() - woken < 13_000, "it came back at once, not when it missed a sign of life: 30 s after the last");
  await isWholeStory(page, world.system, id);
  await isWholeHistory(page, id);
});

story("a connection dies, and nobody says so", async (page) => {
  const id = await submit(page, 1600);
  world.system.wire.kill();
  const held = (await page.text(id)).length;
  await page.grown(id, held + 400);
  await isWholeStory(page, world.system, id);
  await isWholeHistory(page, id);
});

story("a page that nobody looks at holds no connection", async (page) => {
  const id = await submit(page);
  const streams = async () => (await world.system.openStreams(0)) + (await world.system.openStreams(1));
  await eventually("the stream is open, and no other is left", async () => (await streams()) === 1);
  const look = (hidden) => page.tab.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await look(true);
  await eventually("the stream is closed", async () => (await streams()) === 0);
  await look(false);
  await isWholeStory(page, world.system, id);
  await isWholeHistory(page, id);
});
