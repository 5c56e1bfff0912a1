import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { Answer } from './worker.ts';

/** What is written down of a trial: one line of JSON in the file of `--results`. */
export type Entry = Answer & {
  /** Of QEMU. */
  readonly version: string;
  /** Of blockferry's sources. */
  readonly commit: string;
};

/** Trials that were run; where a file is given, those of earlier runs as well. */
export class Results {
  readonly entries: Entry[] = [];
  readonly #path: string | undefined;

  constructor(path?: string) {
    this.#path = path;
    if (path === undefined || !existsSync(path)) return;
    const lines = readFileSync(path, 'utf8').split('\n');
    this.entries.push(...lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Entry));
  }

  add(entry: Entry): void {
    this.entries.push(entry);
    if (this.#path !== undefined) appendFileSync(this.#path, `${JSON.stringify(entry)}\n`);
  }

  /** Whether this seed was tried on this build and these sources. */
  has(seed: number, { version, commit }: Pick<Entry, 'version' | 'commit'>): boolean {
    return this.entries.some((entry) => entry.seed === seed && entry.version === version && entry.commit === commit);
  }
}

/** One line about a trial, and one for each thing that is wrong. */
export function report(answer: Answer): string[] {
  if ('failure' in answer) return [`FAIL ${answer.seed} did not end: ${answer.failure}`];
  const { seed, killed, phase, recovery, outcome, acknowledged, lost, litter, found, ms } = answer;
  const verdict = lost === 0 && litter.length === 0 ? 'ok  ' : 'FAIL';
  const seconds = (ms / 1000).toFixed(1);
  return [
    `${verdict} ${seed} killed ${killed} at ${phase}; ${recovery}: ${outcome}, ${acknowledged} acknowledged, ${lost} lost (${seconds} s)`,
    ...found.map((line) => `     lost: ${line}`),
    ...litter.map((line) => `     litter: ${line}`),
  ];
}

/** Trials by phase, by who was killed and by sources; the last line is the sum. */
export function summary(entries: readonly Entry[]): { readonly lines: readonly string[]; readonly failed: boolean } {
  const ended = entries.flatMap((entry) => ('failure' in entry ? [] : [entry]));
  const count = (key: (entry: (typeof ended)[number]) => string): string[] =>
    [...Map.groupBy(ended, key)]
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([name, of]) => `  ${String(of.length).padStart(5)}  ${name}`);
  const lost = ended.filter((entry) => entry.lost > 0).length;
  const littered = ended.filter((entry) => entry.litter.length > 0).length;
  const unended = entries.length - ended.length;
  return {
    lines: [
      'by phase:',
      ...count(({ phase }) => phase),
      'by who was killed:',
      ...count(({ killed }) => killed),
      'by end:',
      ...count(({ outcome }) => outcome),
      'by QEMU and sources:',
      ...count(({ version, commit }) => `QEMU ${version}, ${commit}`),
      ...(unended > 0 ? [`${unended} did not end`] : []),
      `${entries.length} trials, ${lost} lost, ${littered} littered`,
    ],
    failed: lost + littered + unended > 0,
  };
}
