// The frame of a test file: one system and one browser for all of its stories, and a profile of its own for each.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Chromium, Page } from "./browser.mjs";
import { SOON } from "./eventually.mjs";
import { System } from "./system.mjs";

/** `story(name, tell)` tells one, with the page open; `world` has the `system` and `chromium` once it is told. */
export function stories(settings) {
  const world = {};
  let failed = false;
  before(async () => {
    world.system = await System.start(settings);
    world.chromium = await Chromium.start();
  });
  after(async () => {
    await world.chromium?.close();
    await world.system?.stop(failed);
  });
  const story = (name, tell) => test(name, { timeout: 5 * SOON }, async () => {
    const context = await world.chromium.context();
    try {
      const page = await Page.open(context, world.system);
      await tell(page, context);
      // Nothing may go wrong unseen.
      assert.deepEqual(page.complaints, []);
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      await context.close();
    }
  });
  return { world, story };
}
