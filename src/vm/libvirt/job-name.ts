/**
 * libvirt has no names for block jobs: a disk has one or none. So a job's name here says what it is, and which files it
 * takes the disk from and to; whoever comes after a crash reads from it what to look for.
 */
export interface JobName {
  /** `copy`: the mirror of a disk. `commit`: the merge of an overlay into the image below it. */
  readonly kind: 'copy' | 'commit';
  /** The disk's target, `vda`. */
  readonly disk: string;
  /** The active image while the job runs. */
  readonly from: string;
  /** The active image after its pivot. */
  readonly to: string;
}

/** The text of a name: `copy vda /old/a -> /new/a`, with what could be mistaken in a path escaped. */
export function formatJobName({ kind, disk, from, to }: JobName): string {
  return `${kind} ${disk} ${encodeURI(from)} -> ${encodeURI(to)}`;
}

/** Reads a name; undefined for that of another kind of VM. */
export function parseJobName(text: string): JobName | undefined {
  const [, kind, disk, from, to] = /^(copy|commit) (\S+) (\S+) -> (\S+)$/.exec(text) ?? [];
  if (kind === undefined || disk === undefined || from === undefined || to === undefined) return undefined;
  return { kind: kind as JobName['kind'], disk, from: decodeURI(from), to: decodeURI(to) };
}
