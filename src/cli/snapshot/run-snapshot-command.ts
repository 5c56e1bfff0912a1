import { EXIT, isFerryError } from '../../base/index.ts';
import type { MigrationEvent } from '../../migration/index.ts';
import { runSnapshotCommand } from '../../snapshots/index.ts';
import type { Action, Cli } from '../cli.ts';
import { refusalsOf } from '../terminal/refusals-of.ts';
import { editText } from './edit-text.ts';
import { type HostChoice, SnapshotHosts } from './snapshot-hosts.ts';

const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** One of virsh's commands about snapshots; its texts are virsh's. */
export function snapshotCommand(argv: readonly string[], choice: HostChoice): Action {
  return async (cli) => {
    const { cwd, env } = cli.surroundings;
    using _ = argv.includes('--quiesce') ? new DeferredSignals(cli) : undefined;
    await using host = new SnapshotHosts(cli, choice, (event) => tell(cli, event));
    const { stdout, stderr, exitStatus, error } = await runSnapshotCommand(
      { host, cwd, edit: (text) => editText(text, env) },
      argv,
    );
    if (cli.options.json) cli.show('output', [{ stdout, stderr }], () => []);
    else {
      cli.surroundings.stdout.write(stdout);
      cli.surroundings.stderr.write(stderr + remedyOf(error));
    }
    return exitStatus === 0
      ? { outcome: 'done', exitStatus: EXIT.done, message: '' }
      : { outcome: 'error', exitStatus: EXIT.failed, message: stderr.trim() };
  };
}

/** What to do, where it was blockferry itself that refused. */
function remedyOf(error: unknown): string {
  const cause = isFerryError(error) ? error : error instanceof Error ? error.cause : undefined;
  if (!isFerryError(cause)) return '';
  const refusals = refusalsOf(cause);
  const remedies = refusals.length > 0 ? refusals.map(({ remedy }) => remedy) : [cause.remedy];
  return remedies.map((remedy) => `  what to do: ${remedy}\n`).join('');
}

/** Standard output is virsh's; what a migration has to say besides goes to standard error. */
function tell(cli: Cli, event: MigrationEvent): void {
  const { stderr } = cli.surroundings;
  if (event.type === 'held') stderr.write(`blockferry: guest I/O held ${event.ms.toFixed(1)} ms (${event.kind})\n`);
  if (event.type === 'frozen') stderr.write(`blockferry: guest's file systems frozen ${event.ms.toFixed(1)} ms\n`);
  if (event.type === 'warning') stderr.write(`blockferry: ${event.message}\n`);
}

/** A guest that is frozen would stay so if this process were ended: it ends by itself when the guest is thawed. */
class DeferredSignals implements Disposable {
  readonly #defer: (signal: NodeJS.Signals) => void;

  constructor({ surroundings: { stderr } }: Cli) {
    this.#defer = (signal) =>
      stderr.write(`blockferry: ${signal} is not heeded: the guest may be frozen, and is thawed before this ends\n`);
    for (const signal of ENDING) process.on(signal, this.#defer);
  }

  [Symbol.dispose](): void {
    for (const signal of ENDING) process.off(signal, this.#defer);
  }
}
