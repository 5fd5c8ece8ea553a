// The page, where the server asks for a key: streams go by tokens.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

import { Page } from "../src/browser.mjs";
import { isWholeHistory, isWholeStory } from "../src/checks.mjs";
import { eventually } from "../src/eventually.mjs";
import { stories } from "../src/stories.mjs";

const KEY = "the-key-of-acme";
const HEADERS = { Authorization: `Bearer ${KEY}` };

const { story, world } = stories({
  auth: `
anonymous = false
token_keys = ["${"5a".repeat(32)}"]
token_ttl = "2s"
[[auth.keys]]
owner = "acme"
sha256 = "${createHash("sha256").update(KEY).digest("hex")}"
scopes = ["submit", "read"]
`,
});

async function enter(page, key) {
  await page.tab.getByRole("dialog").getByLabel("Key").fill(key);
  await page.tab.keyboard.press("Enter");
  await page.tab.getByRole("dialog").waitFor({ state: "hidden" });
}

const asked = (page, why = "The server asks for an API key.") => page.tab.getByRole("dialog").getByText(why).waitFor();

story("a key is asked for, and streams go by tokens that are renewed", async (page, context) => {
  const urls = [];
  page.tab.on("request", (request) => urls.push(request.url()));
  await page.tab.getByRole("button", { name: "Submit" }).click();
  await asked(page);
  await enter(page, "a wrong one");
  await page.tab.getByRole("button", { name: "Submit" }).click();
  await asked(page, "The server doesn't know this API key.");
  await enter(page, KEY);
  assert.equal(world.system.jobs().length, 0);

  const id = await page.submit("narrate", { tokens: 900, perSecond: 40 });
  await page.grown(id, 100);
  const first = urls.find((url) => url.includes("/events"));
  assert.match(first, /[?&]token=/);
  const expired = await eventually("the first token has run out", async () => {
    const answer = await fetch(first, { headers: { "Last-Event-ID": "1" } });
    await answer.body?.cancel();
    return answer.status === 401 && (await page.text(id)).length;
  });
  // The stream that is open goes on; the one that comes back needs a new token.
  await page.grown(id, expired + 50);
  const before = urls.filter((url) => url.endsWith("/api/tokens")).length;
  world.system.wire.cut();
  await isWholeStory(page, world.system, id, HEADERS);
  await isWholeHistory(page, id);
  assert.ok(urls.filter((url) => url.endsWith("/api/tokens")).length > before);
  assert.ok(urls.every((url) => !url.includes(KEY)), "the key is in no address");

  // It lasts as long as the tab, and is nobody else's.
  await page.tab.reload();
  await isWholeStory(page, world.system, id, HEADERS);
  const other = await Page.open(context, world.system);
  await asked(other);
  await enter(other, KEY);
  await isWholeStory(other, world.system, id, HEADERS);
  const kept = await page.tab.evaluate(() => JSON.stringify({ ...localStorage }) + document.cookie);
  assert.ok(!kept.includes(KEY));
});

story("who closes the dialog is not asked on and on", async (page) => {
  await page.tab.getByRole("button", { name: "Submit" }).click();
  await asked(page);
  await page.tab.keyboard.press("Escape");
  await page.tab.getByRole("alert").getByText("The server asks for an API key.").waitFor();
  const id = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";
  await page.tab.getByLabel("Follow a job by its id").fill(id);
  await page.tab.keyboard.press("Enter");
  await asked(page);
  await page.tab.getByRole("button", { name: "Close" }).click();
  let calls = 0;
  page.tab.on("request", () => { calls++; });
  await page.shows(id, "error", "The server asks for an API key.");
  await page.tab.reload();
  await asked(page);
  assert.ok(calls <= 3, `${calls} calls`);
});
