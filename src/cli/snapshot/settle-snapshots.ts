import { EXIT } from '../../base/index.ts';
import type { SnapshotIntent } from '../../journal/index.ts';
import type { Settlement } from '../../snapshots/index.ts';
import type { Cli } from '../cli.ts';
import { asFerryError, errorResult } from '../exit-status.ts';
import { openJournal } from '../open-journal.ts';
import type { CommandResult } from '../terminal/renderer.ts';
import { QemuSnapshotHost } from './qemu-snapshot-host.ts';

/** Brings every snapshot whose taker died to its end; one that cannot be does not keep the others from it. */
export async function settleSnapshots(cli: Cli): Promise<readonly CommandResult[]> {
  const host = new QemuSnapshotHost(cli, undefined, (event) => {
    if (event.type === 'warning') cli.renderer.note(event.message);
  });
  const results: CommandResult[] = [];
  for (const { vm } of intents(cli)) {
    try {
      results.push(...(await host.settle(vm)).map((each) => resultOf(vm.name, each)));
    } catch (error) {
      const failure = asFerryError(error);
      cli.renderer.error(failure, cli);
      results.push(errorResult(failure));
    }
  }
  return results;
}

function intents(cli: Cli): readonly SnapshotIntent[] {
  using journal = openJournal(cli);
  return journal.snapshotIntents();
}

function resultOf(vm: string, { name, outcome }: Settlement): CommandResult {
  const what = outcome === 'taken' ? 'was taken, and is recorded' : 'was not taken';
  return { outcome: 'done', exitStatus: EXIT.done, message: `the snapshot '${name}' of ${vm} ${what}` };
}
