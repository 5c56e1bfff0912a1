import type { QmpClient } from './client.ts';
import type { SchemaInfo } from './generated/commands.ts';

/**
 * What one QEMU can do, from `query-qmp-schema`. Ask this before a command that not every QEMU has; distributions
 * carry features back, so the version tells nothing.
 */
export class QmpSchema {
  readonly #entities: ReadonlyMap<string, SchemaInfo>;

  constructor(schema: readonly SchemaInfo[]) {
    this.#entities = new Map(schema.map((entity) => [entity.name, entity]));
  }

  /** Asks the monitor; about 190 KB of answer. Throws as `QmpClient.execute`. */
  static async load(
    client: Pick<QmpClient, 'execute'>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<QmpSchema> {
    return new QmpSchema(await client.execute('query-qmp-schema', {}, options));
  }

  /** Whether there is such a command. */
  has(command: string): boolean {
    return this.#entities.get(command)?.['meta-type'] === 'command';
  }

  /** Whether there is such an event. */
  hasEvent(event: string): boolean {
    return this.#entities.get(event)?.['meta-type'] === 'event';
  }

  /**
   * Whether a command takes an argument. Each further step goes one level down: a member of the argument's type (in
   * any of its variants, through lists), or a value of its enum.
   *
   *     schema.hasArgument('block-job-change', 'copy-mode')
   *     schema.hasArgument('blockdev-mirror', 'copy-mode', 'write-blocking')
   *     schema.hasArgument('blockdev-reopen', 'options', 'backing')
   */
  hasArgument(command: string, ...path: readonly [string, ...string[]]): boolean {
    const entity = this.#entities.get(command);
    return entity?.['meta-type'] === 'command' && this.#reaches(entity['arg-type'], path);
  }

  /** Whether a command's answer can have a member; steps as `hasArgument`: `hasReturn('query-block-jobs', 'actively-synced')`. */
  hasReturn(command: string, ...path: readonly [string, ...string[]]): boolean {
    const entity = this.#entities.get(command);
    return entity?.['meta-type'] === 'command' && this.#reaches(entity['ret-type'], path);
  }

  /** Whether the command can be executed out of band. */
  canRunOutOfBand(command: string): boolean {
    const entity = this.#entities.get(command);
    return entity?.['meta-type'] === 'command' && entity['allow-oob'] === true;
  }

  #reaches(typeName: string, path: readonly string[]): boolean {
    const [step, ...rest] = path;
    if (step === undefined) return true;
    const type = this.#entities.get(typeName);
    switch (type?.['meta-type']) {
      case 'array':
        return this.#reaches(type['element-type'], path);
      case 'alternate':
        return type.members.some((member) => this.#reaches(member.type, path));
      case 'enum':
        return rest.length === 0 && type.values.includes(step);
      case 'object':
        return (
          type.members.some((member) => member.name === step && this.#reaches(member.type, rest)) ||
          (type.variants ?? []).some((variant) => this.#reaches(variant.type, path))
        );
      default:
        return false;
    }
  }
}
