/**
 * `npm test`: the checks, then the unit tests, then the tests on real QEMU. Stops at the first that fails.
 *
 *   npm test [-- NAME ...]     only the test files whose path has one of the names, without the checks
 */
import { spawnSync } from 'node:child_process';

const only = process.argv.slice(2);

function step(title: string, program: string, args: readonly string[]): void {
  const started = performance.now();
  console.log(`\n== ${title}`);
  const { status, signal } = spawnSync(program, args, { stdio: 'inherit' });
  const outcome = status === 0 ? 'ok' : `FAILED (${signal === null ? `status ${status}` : `ended by ${signal}`})`;
  console.log(`== ${title}: ${outcome}, ${((performance.now() - started) / 1000).toFixed(0)} s`);
  if (status !== 0) process.exit(status ?? 1);
}

if (only.length === 0) {
  step('types', 'tsc', ['--noEmit']);
  step('lint', 'oxlint', ['--type-aware', '--deny-warnings']);
  step('format', 'biome', ['format', '.']);
}
step('unit tests', 'vitest', ['run', '--project', 'unit', '--passWithNoTests', ...only]);
step('tests on real QEMU', 'vitest', ['run', '--project', 'integ', '--passWithNoTests', ...only]);
