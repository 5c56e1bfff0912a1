import type { MigrationView } from '../migration-view.ts';
import { eventText } from './event-text.ts';
import { progressText } from './progress-line.ts';
import { table } from './table.ts';
import { cutText, formatTime, type Paint, paint as painter, printable } from './text.ts';

const PLAIN = painter(false);

/** All that the journal knows of a migration, for a person. */
export function statusView(view: MigrationView, width: number, paint: Paint): string[] {
  const { id, vm, disks, to, createdAt, updatedAt, finishedAt, committed, message } = view;
  const facts: [string, string][] = [
    [
      'state',
      `${view.state}${view.goal === 'back' && view.state !== 'rolled-back' ? ', going back' : ''}${driver(view)}`,
    ],
    ['disks', `${disks.join(', ')} to ${to.join(', ')}`],
    ['guest on', committed.pivot === undefined ? 'the source' : `the target, since ${formatTime(committed.pivot)}`],
    ['begun', formatTime(createdAt)],
    finishedAt === undefined ? ['changed', formatTime(updatedAt)] : ['ended', formatTime(finishedAt)],
    ['monitor', vm.address],
    ...(message === undefined ? [] : [['message', message] satisfies [string, string]]),
  ];
  return [
    paint('bold', `migration ${id} of ${printable(vm.name)}`),
    ...facts.map(([name, value]) => `  ${name.padEnd(9)} ${printable(value)}`),
    ...section('steps', steps(view, width, paint)),
    ...section('progress', progress(view)),
    ...section('made and still there', ledger(view, width, paint)),
    ...section('last events', events(view, width)),
  ];
}

function driver({ owner, finishedAt }: MigrationView): string {
  if (finishedAt !== undefined) return '';
  if (owner === 'none') return '; nobody drives it';
  return owner === 'unknown' ? '; whether somebody drives it cannot be told' : `; driven by process ${owner}`;
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`  ${title}`, ...lines.map((line) => `    ${line}`)];
}

function steps({ steps: rows }: MigrationView, width: number, paint: Paint): string[] {
  if (rows.length === 0) return [];
  const cells = rows.map(({ step, state, at }) => [step, state, formatTime(at)]);
  return table([{ title: 'STEP' }, { title: 'STATE' }, { title: 'SINCE' }], cells, width - 4, paint);
}

function progress({ progress: reports, finishedAt }: MigrationView): string[] {
  if (finishedAt !== undefined) return [];
  return reports.flatMap((report) => {
    const text = progressText({ disk: report.key, ...report });
    return text === '' ? [] : [printable(`${report.phase} ${report.key}: ${text}`)];
  });
}

function ledger({ ledger: entries }: MigrationView, width: number, paint: Paint): string[] {
  if (entries.length === 0) return [];
  const cells = entries.map(({ kind, name, role, state, disk }) => [kind, state, role, disk ?? '', name]);
  const columns = [{ title: 'KIND' }, { title: 'STATE' }, { title: 'ROLE' }, { title: 'DISK' }, { title: 'NAME' }];
  return table(columns, cells, width - 4, paint);
}

function events({ events: rows }: MigrationView, width: number): string[] {
  return rows.map(({ at, event }) =>
    cutText(`${formatTime(at)}  ${eventText(event, PLAIN) ?? printable(plainEvent(event))}`, width - 4),
  );
}

/** Events that the live view has no line of its own for. */
function plainEvent(event: MigrationView['events'][number]['event']): string {
  switch (event.type) {
    case 'started': {
      return `started: ${event.disks.join(', ')} of ${event.vm}`;
    }
    case 'step': {
      return `${event.step}: ${event.state}`;
    }
    case 'held': {
      return `${event.kind}: guest I/O held ${event.ms.toFixed(1)} ms`;
    }
    case 'finished': {
      return `finished: ${event.message}`;
    }
    default: {
      return event.type;
    }
  }
}
