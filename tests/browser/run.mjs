// Runs the test files, several at a time (most of what they do is wait), and says at the end how many passed.
// Arguments: parts of the names of the files to run; all without.
import { readdirSync } from "node:fs";
import { run } from "node:test";
import { fileURLToPath } from "node:url";

const AT_ONCE = 3;
// Stories have deadlines of their own; this catches a file that hangs all the same.
const LONGEST = 10 * 60_000;

const folder = fileURLToPath(new URL("tests/", import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".test.mjs") && (!wanted.length || wanted.some((part) => name.includes(part))))
  .map((name) => folder + name);

const sum = { passed: 0, failed: 0 };
const isFile = (name) => files.includes(name) || name.endsWith(".test.mjs");
const seconds = (data) => ((data.details?.duration_ms ?? 0) / 1000).toFixed(1);

run({ files, concurrency: AT_ONCE, timeout: LONGEST })
  .on("test:pass", (data) => {
    if (isFile(data.name)) return;
    sum.passed++;
    console.log(`  ok    ${data.name} (${seconds(data)} s)`);
  })
  .on("test:fail", (data) => {
    const error = data.details?.error;
    // A file fails because a test in it did; by itself only if it couldn't be run at all.
    if (isFile(data.name) && error?.failureType === "subtestsFailed") return;
    sum.failed++;
    console.log(`  FAIL  ${data.name} (${seconds(data)} s)\n${(error?.cause?.stack ?? error?.cause ?? error)}`);
  })
  .on("test:stderr", (data) => process.stderr.write(data.message))
  .on("end", () => {
    console.log(`${sum.passed} passed, ${sum.failed} failed`);
    process.exitCode = sum.failed || !sum.passed ? 1 : 0;
  })
  .resume();
