import type { BlockJobInfo, Empty, GeneratedCommands, GeneratedEvents, MirrorCopyMode } from './generated/commands.ts';

/** A block job as `query-block-jobs` tells it, with what newer QEMUs add for a mirror. */
export type BlockJob = BlockJobInfo & {
  /** QEMU >= 8.2, `mirror` jobs: each guest write is on both sides before the guest sees it done. */
  readonly 'actively-synced'?: boolean;
};

/**
 * Every command that has types: those of QEMU 7.2, and what newer ones add, declared by hand. Whether the QEMU at hand
 * has it is asked of its schema (`QmpSchema`), never of its version.
 */
export interface Commands extends Omit<GeneratedCommands, 'query-block-jobs'> {
  'query-block-jobs': { arguments: GeneratedCommands['query-block-jobs']['arguments']; returns: readonly BlockJob[] };
  /** QEMU >= 8.2: changes a running job. QEMU takes only `write-blocking` for a job that runs in `background`. */
  'block-job-change': {
    arguments: { readonly type: 'mirror'; readonly id: string; readonly 'copy-mode': MirrorCopyMode };
    returns: Empty;
  };
}

export type CommandName = keyof Commands;
/** The arguments of a command. */
export type CommandArguments<C extends CommandName> = Commands[C]['arguments'];
/** What QEMU answers to a command. */
export type CommandReturns<C extends CommandName> = Commands[C]['returns'];

export type EventName = keyof GeneratedEvents;

/** An event of one name. */
export interface EventOf<N extends EventName> {
  readonly event: N;
  readonly data: GeneratedEvents[N];
  /** When it happened, by the host's wall clock. Both -1 where the host could not tell. */
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
}

/** An event. QEMU has more than have types here; a filter function sees those too. */
export type QmpEvent = { readonly [N in EventName]: EventOf<N> }[EventName];
