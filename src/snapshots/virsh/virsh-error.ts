/** A command failed, and says so in these lines; each is printed after `error: `, as virsh does. */
export class VirshError extends Error {
  readonly lines: readonly string[];

  constructor(...lines: readonly string[]) {
    super(lines.join('; '));
    this.name = 'VirshError';
    this.lines = lines;
  }
}

/** What virsh would say of anything that was thrown. */
export function errorLinesOf(error: unknown): readonly string[] {
  if (error instanceof VirshError) return error.lines;
  return [error instanceof Error ? error.message : String(error)];
}
