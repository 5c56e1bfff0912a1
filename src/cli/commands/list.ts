import { EXIT, formatDuration } from '../../base/index.ts';
import type { Action } from '../cli.ts';
import { migrationSummary, type MigrationSummary } from '../migration-view.ts';
import { openJournal } from '../open-journal.ts';
import { table } from '../terminal/table.ts';
import { count, formatTime } from '../terminal/text.ts';

const COLUMNS = [
  { title: 'ID' },
  { title: 'VM' },
  { title: 'STATE' },
  { title: 'BEGUN' },
  { title: 'TOOK', align: 'right' },
  { title: 'DISKS' },
  { title: 'TO' },
] as const;

/** `blockferry list`: every migration in the journal, the oldest first. */
export function list(): Action {
  return (cli) => {
    using journal = openJournal(cli);
    const migrations = journal.migrations().map(migrationSummary);
    const lines = (): string[] =>
      migrations.length === 0 ? [] : table(COLUMNS, migrations.map(row), cli.width, cli.paint);
    cli.show('migration', migrations, lines);
    const message = migrations.length === 0 ? `no migrations in ${journal.dir}` : '';
    return Promise.resolve({
      outcome: 'done',
      exitStatus: EXIT.done,
      message: cli.options.json ? count(migrations.length, 'migration') : message,
    });
  };
}

function row({ id, vm, state, createdAt, finishedAt, disks, to }: MigrationSummary): string[] {
  const took = finishedAt === undefined ? '' : formatDuration(finishedAt - createdAt);
  return [id, vm.name, state, formatTime(createdAt), took, disks.join(', '), to.join(', ')];
}
