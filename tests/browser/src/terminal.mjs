// What a terminal shows: as much of one as programs need that draw bars. Bytes in, lines of styled pieces out.

const RESET = { bold: false, dim: false, colour: null };
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

export class Terminal {
  #lines = [[]];
  #row = 0;
  #column = 0;
  #style = RESET;
  #rest = "";
  #decoder = new TextDecoder();

  constructor(columns) { this.columns = columns; }

  write(bytes) {
    const text = this.#rest + this.#decoder.decode(bytes, { stream: true });
    this.#rest = "";
    for (let at = 0; at < text.length;) {
      if (text[at] !== "\x1b") {
        const character = String.fromCodePoint(text.codePointAt(at));
        this.#put(character);
        at += character.length;
        continue;
      }
      const sequence = /^\x1b(?:\[([\d;?]*)([A-Za-z])|\][^\x07]*\x07)/.exec(text.slice(at));
      if (!sequence) { this.#rest = text.slice(at); return; }
      if (sequence[2]) this.#control(sequence[2], sequence[1].split(";").map((number) => Number.parseInt(number, 10) || 0));
      at += sequence[0].length;
    }
  }

  #put(character) {
    if (character === "\r") { this.#column = 0; return; }
    if (character === "\n") { this.#move(1); return; }
    // A line that is full wraps only when something more comes.
    if (this.#column >= this.columns) { this.#column = 0; this.#move(1); }
    this.#lines[this.#row][this.#column++] = { character, style: this.#style };
  }

  #move(rows) {
    this.#row = Math.max(0, this.#row + rows);
    while (this.#lines.length <= this.#row) this.#lines.push([]);
  }

  #control(name, numbers) {
    const line = this.#lines[this.#row], count = Math.max(1, numbers[0]);
    switch (name) {
      case "A": this.#column = Math.min(this.#column, this.columns - 1); this.#move(-count); break;
      case "B": this.#column = Math.min(this.#column, this.columns - 1); this.#move(count); break;
      case "C": this.#column = Math.min(this.columns - 1, this.#column + count); break;
      case "D": this.#column = Math.max(0, this.#column - count); break;
      case "G": this.#column = count - 1; break;
      case "J": line.length = Math.min(line.length, this.#column); this.#lines.length = this.#row + 1; break;
      case "K": if (numbers[0] === 2) line.length = 0; else line.length = Math.min(line.length, this.#column); break;
      case "m": for (const number of numbers) this.#paint(number); break;
      default: break;
    }
  }

  #paint(number) {
    if (number === 0) this.#style = RESET;
    else if (number === 1) this.#style = { ...this.#style, bold: true };
    else if (number === 2) this.#style = { ...this.#style, dim: true };
    else if (number === 22) this.#style = { ...this.#style, bold: false, dim: false };
    else if (number >= 30 && number < 38) this.#style = { ...this.#style, colour: COLOURS[number - 30] };
    else if (number >= 90 && number < 98) this.#style = { ...this.#style, colour: COLOURS[number - 90] };
    else if (number === 39) this.#style = { ...this.#style, colour: null };
  }

  /** The lines as text, without what is blank at their ends. */
  get text() {
    return this.#lines.map((line) => Array.from(line, (cell) => cell?.character ?? " ").join("").trimEnd());
  }

  /** The lines as HTML: spans with the classes `bold`, `dim` and a colour's name. */
  get html() {
    const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    return this.text.map((text, row) => [...text].map((character, column) => {
      const { bold, dim, colour } = this.#lines[row][column]?.style ?? RESET;
      const names = [bold && "bold", dim && "dim", colour].filter(Boolean).join(" ");
      return names ? `<span class="${names}">${escaped(character)}</span>` : escaped(character);
    }).join("")).join("\n");
  }
}
