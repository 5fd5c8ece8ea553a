// Waiting on conditions, with a deadline: on a busy machine even moments are long.
export const SOON = 60_000;

/** The first truthy value of `ask`, which may be async and may throw until then; fails at the deadline, saying `what`. */
export async function eventually(what, ask, deadline = SOON) {
  const end = Date.now() + deadline;
  let last;
  do {
    try {
      const found = await ask();
      if (found) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await pause(50);
  } while (Date.now() < end);
  throw new Error(`not within ${deadline / 1000} s: ${what}`, { cause: last });
}

/** A pause that is part of a story (a network that is away for so long), never a wait for something to happen. */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
