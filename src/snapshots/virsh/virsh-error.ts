/** A command failed, and says so in these lines; each is printed after `error: `, as virsh does. */
export class VirshError extends Error {
  readonly lines: readonly string[];

  constructor(...lines: readonly string[]) {
    super(lines.join('; '));
    this.name = 'VirshError';
    this.lines = lines;
  }

  /** The same, of something that was thrown. */
  static because(cause: unknown, ...lines: readonly string[]): VirshError {
    const error = new VirshError(...lines);
    error.cause = cause;
    return error;
  }
}

/** What virsh would say of anything that was thrown. */
export function errorLinesOf(error: unknown): readonly string[] {
  if (error instanceof VirshError) return error.lines;
  return [error instanceof Error ? error.message : String(error)];
}
