import { EXIT } from '../../base/index.ts';
import type { Journal, Migration } from '../../journal/index.ts';
import type { Action } from '../cli.ts';
import { migrationView } from '../migration-view.ts';
import { openJournal } from '../open-journal.ts';
import { intentLines, intentView } from '../snapshot/intent-view.ts';
import { statusView } from '../terminal/status-view.ts';
import { count } from '../terminal/text.ts';

/** `blockferry status`: one migration; or all that are unfinished, snapshots too, and the migration that finished last. */
export function status(idOrPrefix: string | undefined): Action {
  return async (cli) => {
    using journal = openJournal(cli);
    const rows = idOrPrefix === undefined ? current(journal) : [journal.findMigration(idOrPrefix)];
    const views = await Promise.all(rows.map(async (row) => await migrationView(journal, row)));
    cli.show('migration', views, () =>
      views.flatMap((view, index) => [...(index > 0 ? [''] : []), ...statusView(view, cli.width, cli.paint)]),
    );
    const intents = idOrPrefix === undefined ? journal.snapshotIntents() : [];
    const snapshots = await Promise.all(intents.map(async (intent) => await intentView(journal, intent)));
    cli.show('snapshot', snapshots, () =>
      snapshots.flatMap((view, index) => [...(views.length + index > 0 ? [''] : []), ...intentLines(view, cli.paint)]),
    );
    const message = views.length + snapshots.length === 0 ? `no migrations in ${journal.dir}` : '';
    return {
      outcome: 'done',
      exitStatus: EXIT.done,
      message: cli.options.json ? count(views.length, 'migration') : message,
    };
  };
}

function current(journal: Journal): Migration[] {
  const finished = journal.migrations({ unfinished: false });
  const last = finished.toSorted((a, b) => (a.finishedAt ?? 0) - (b.finishedAt ?? 0)).slice(-1);
  return [...last, ...journal.migrations({ unfinished: true })];
}
