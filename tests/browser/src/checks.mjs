// What must hold of a job that a page has followed.
import assert from "node:assert/strict";

import { eventually } from "./eventually.mjs";

const ENDS = ["completed", "failed", "cancelled"];

/** The page was told every event once, in order, from the first to the end, whatever broke in between. */
export async function isWholeHistory(page, id) {
  // The page may know the end by a poll already, before the stream tells it.
  const seen = await eventually("the stream tells the end", async () => {
    const soFar = await page.seen(id);
    return soFar.some(([name]) => ENDS.includes(name)) && soFar;
  });
  assert.deepEqual(seen.map(([, id]) => parseInt(id, 10)), seen.map((_, index) => index + 1));
  assert.ok(seen.every(([name, , data], index) => data.type === name && data.seq === index + 1));
  const ends = seen.map(([name]) => ENDS.includes(name));
  assert.equal(ends.indexOf(true), seen.length - 1, "one end, at the end");
}

/** The text on the page is all that the job of `narrate` said, once. */
export async function isWholeStory(page, system, id, headers) {
  await page.shows(id, "status", "Completed");
  const { result } = await system.call("GET", `/api/jobs/${id}`, undefined, headers);
  const text = await system.text(id, headers);
  assert.equal([...text].length, result.characters);
  // Where a poll has told the end, the stream is still to tell the rest.
  await eventually("the text is whole", async () => (await page.text(id)).length >= text.length);
  assert.equal(await page.text(id), text);
}
