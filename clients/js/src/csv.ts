export const QUOTE = 34;

/** Returns a function that counts the lines of a chunked text. Line feeds inside CSV quotes do not count. */
export function lineCounter(quote?: number): (chunk: Uint8Array) => number {
  let lines = 0;
  let quoted = false;
  return (chunk) => {
    for (const byte of chunk) {
      if (byte === quote) quoted = !quoted;
      else if (byte === 10 && !quoted) lines++;
    }
    return lines;
  };
}

/** Parses the first complete lines of a CSV. */
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
