export const QUOTE = 34;

/** Counts the lines of a text that goes by in pieces. Between quotes of a CSV none ends. */
export function lineCounter(quote?: number): (piece: Uint8Array) => number {
  let lines = 0;
  let quoted = false;
  return (piece) => {
    for (const byte of piece) {
      if (byte === quote) quoted = !quoted;
      else if (byte === 10 && !quoted) lines++;
    }
    return lines;
  };
}

/** The first lines of a CSV, as far as they are whole. */
export function parse(text: string, lines: number): string[][] {
  const parsed: string[][] = [];
  let line: string[] = [];
  for (const [, cell = "", end] of text.matchAll(/("(?:[^"]|"")*"|[^",\n\r]*)(,|\r\n|$)/g)) {
    line.push(cell[0] === '"' ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end === ",") continue;
    if (!end || parsed.push(line) === lines) break;
    line = [];
  }
  return parsed;
}
