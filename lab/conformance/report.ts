import { type ConformanceCase, readCases } from './corpus.ts';
import { CaseRunner } from './run-case.ts';

interface Tally {
  passed: number;
  failed: number;
  readonly skipped: Map<string, number>;
}

/** What a run of a corpus came to. */
export interface ConformanceReport {
  /** Lines for a person; the last one is `N passed, N failed, N skipped`. */
  readonly lines: readonly string[];
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '    ');
}

function tallyLine(kind: string, tally: Tally): string {
  const reasons = [...tally.skipped].map(([reason, count]) => `${count} skipped (${reason})`);
  return [
    `${kind}: ${tally.passed} passed`,
    `${tally.failed} failed`,
    ...(reasons.length > 0 ? reasons : ['0 skipped']),
  ].join(', ');
}

/** Runs every case of a folder in the corpus format: each failure with a diff, then a line per kind, then the sum. */
export function runConformance(folder: string, schemaFolder?: string): ConformanceReport {
  const runner = new CaseRunner(folder, schemaFolder);
  const tallies = new Map<ConformanceCase['kind'], Tally>();
  const failures: string[] = [];
  for (const one of readCases(folder)) {
    const tally = tallies.get(one.kind) ?? { passed: 0, failed: 0, skipped: new Map<string, number>() };
    tallies.set(one.kind, tally);
    const outcome = runner.run(one);
    if (outcome.result === 'passed') tally.passed += 1;
    else if (outcome.result === 'skipped')
      tally.skipped.set(outcome.reason, (tally.skipped.get(outcome.reason) ?? 0) + 1);
    else {
      tally.failed += 1;
      failures.push(`FAILED ${one.kind} ${one.id}`, indent(outcome.diff));
    }
  }
  const all = [...tallies.values()];
  const passed = all.reduce((sum, tally) => sum + tally.passed, 0);
  const failed = all.reduce((sum, tally) => sum + tally.failed, 0);
  const skipped = all.reduce((sum, tally) => sum + [...tally.skipped.values()].reduce((a, b) => a + b, 0), 0);
  const lines = [
    ...failures,
    ...[...tallies].map(([kind, tally]) => tallyLine(kind, tally)),
    `${passed} passed, ${failed} failed, ${skipped} skipped`,
  ];
  return { lines, passed, failed, skipped };
}
