import { type ConformanceCase, readCases, type VirshCase } from './corpus.ts';
import { CaseRunner, type Outcome } from './run-case.ts';
import type { VirshRunner } from './virsh-runner.ts';

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

export interface ConformanceOptions {
  /** libvirt's schemas; default: those installed. */
  readonly schemaFolder?: string | undefined;
  /** For the cases that need a hypervisor; or why there is none. Default: none was asked for. */
  readonly virsh?: VirshRunner | string;
  /** Only cases whose id has this in it. */
  readonly only?: string | undefined;
}

async function runVirsh(one: VirshCase, virsh: ConformanceOptions['virsh']): Promise<Outcome> {
  if (virsh === undefined || typeof virsh === 'string') {
    return { result: 'skipped', reason: virsh ?? 'needs a hypervisor driver' };
  }
  return await virsh.run(one);
}

/** Runs every case of a folder in the corpus format: each failure with a diff, then a line per kind, then the sum. */
export async function runConformance(folder: string, options: ConformanceOptions = {}): Promise<ConformanceReport> {
  const { schemaFolder, virsh, only = '' } = options;
  const runner = new CaseRunner(folder, schemaFolder);
  const tallies = new Map<(ConformanceCase | VirshCase)['kind'], Tally>();
  const failures: string[] = [];
  for (const one of readCases(folder).filter(({ id }) => id.includes(only))) {
    const tally = tallies.get(one.kind) ?? { passed: 0, failed: 0, skipped: new Map<string, number>() };
    tallies.set(one.kind, tally);
    const outcome = one.kind === 'virsh' ? await runVirsh(one, virsh) : runner.run(one);
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
