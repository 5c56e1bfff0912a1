import { EXIT, formatSize } from '../../base/index.ts';
import { Journal, stateDirectory } from '../../journal/index.ts';
import { findLeftovers, type Leftover, removeLeftover } from '../../migration/index.ts';
import type { Action } from '../cli.ts';
import { openJournal } from '../open-journal.ts';
import { table } from '../terminal/table.ts';
import { count } from '../terminal/text.ts';

export interface GcOptions {
  /** Remove what may go. */
  readonly yes?: boolean;
}

/** A leftover as it is shown: `removed` when it was. */
type Shown = Leftover & { readonly removed: boolean };

const COLUMNS = [
  { title: 'MIGRATION' },
  { title: 'SIZE', align: 'right' },
  { title: '' },
  { title: 'FILE' },
  { title: 'WHY' },
] as const;

/** `blockferry gc`: what finished migrations have left over, and with `--yes` its removal. */
export function gc({ yes = false }: GcOptions): Action {
  return async (cli) => {
    const shown = yes ? await removeAll(stateDirectory(cli.options.stateDir)) : await look(openJournal(cli));
    cli.show('leftover', shown, () => (shown.length === 0 ? [] : table(COLUMNS, shown.map(row), cli.width, cli.paint)));
    return { outcome: 'done', exitStatus: EXIT.done, message: summary(shown, yes) };
  };
}

async function look(opened: Journal): Promise<readonly Shown[]> {
  using journal = opened;
  return (await findLeftovers(journal)).map((each) => ({ ...each, removed: false }));
}

async function removeAll(stateDir: string): Promise<readonly Shown[]> {
  using journal = Journal.open(stateDir);
  const shown: Shown[] = [];
  for (const each of await findLeftovers(journal)) {
    const found = await removeLeftover(journal, each);
    shown.push({ ...found, removed: found.verdict === 'remove' });
  }
  return shown;
}

function row({ migration, size, verdict, path, why, removed }: Shown): string[] {
  const what = removed ? 'removed' : verdict === 'remove' ? 'may go' : verdict === 'keep' ? 'stays' : 'missing';
  return [migration, formatSize(size), what, path, why];
}

function summary(shown: readonly Shown[], yes: boolean): string {
  const may = shown.filter(({ verdict }) => verdict === 'remove');
  const size = formatSize(may.reduce((sum, each) => sum + each.size, 0));
  if (shown.length === 0) return 'nothing is left over';
  if (yes) return `${count(may.length, 'file')} removed, ${size}`;
  return may.length === 0
    ? 'nothing may be removed'
    : `${count(may.length, 'file')}, ${size}: remove with blockferry gc --yes`;
}
