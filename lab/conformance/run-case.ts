import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isFerryError } from '../../src/base/index.ts';
import {
  alignDisks,
  DomainSnapshotError,
  type FormatFlag,
  formatSnapshot,
  loadSnapshotSchema,
  type ParsedSnapshot,
  parseDomainDocument,
  parseSnapshot,
  type Profile,
  type Snapshot,
  type SnapshotSchema,
} from '../../src/domainsnapshot/index.ts';
import { type ConformanceCase, type ExpectedError, OLD_VERSION, TARGET_VERSION } from './corpus.ts';
import { lineDiff } from './line-diff.ts';

export type Outcome =
  | { readonly result: 'passed' }
  | { readonly result: 'failed'; readonly diff: string }
  | { readonly result: 'skipped'; readonly reason: string };

const PASSED: Outcome = { result: 'passed' };

/** Thrown where a case cannot be run here; the reason is printed. */
class Skip extends Error {}

/** Runs the cases of one folder. Loads libvirt's schema once, when the first case needs it. */
export class CaseRunner {
  readonly #folder: string;
  readonly #schemaFolder: string | undefined;
  #schema: SnapshotSchema | undefined;

  /** @param schemaFolder libvirt's schemas; default: those installed. */
  constructor(folder: string, schemaFolder?: string) {
    this.#folder = folder;
    this.#schemaFolder = schemaFolder;
  }

  /** Runs one case and compares the answer with the expected one. */
  run(one: ConformanceCase): Outcome {
    const reason = reasonToSkip(one);
    if (reason !== undefined) return { result: 'skipped', reason };
    const outcome = this.#judge(one);
    if (outcome.result === 'failed' && one.normative === false) {
      return { result: 'skipped', reason: 'not normative, and answered differently by choice' };
    }
    return outcome;
  }

  #judge(one: ConformanceCase): Outcome {
    try {
      if (one.kind === 'schema-valid' || one.kind === 'schema-invalid') return this.#judgeValidity(one);
      return this.#judgeAnswer(one);
    } catch (error) {
      if (error instanceof Skip) return { result: 'skipped', reason: error.message };
      // Anything but an error of libvirt's is a fault of ours, and of this case only.
      return { result: 'failed', diff: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
  }

  #judgeValidity(one: ConformanceCase): Outcome {
    const problems = this.#needSchema().problems(this.#read(one.input));
    const version = this.#versionFor(one);
    const other = one.byVersion?.[version];
    const valid = other === undefined ? one.kind === 'schema-valid' : other === 'valid';
    if ((problems.length === 0) === valid) return PASSED;
    return { result: 'failed', diff: valid ? `- valid\n+ ${problems.join('\n+ ')}` : '- invalid\n+ valid' };
  }

  /** Whose answer counts: the target's, and for a schema that of the libvirt whose schema it is. */
  #versionFor({ kind, flags, versions, profile }: ConformanceCase): string {
    const bySchema = kind.startsWith('schema-') || flags?.includes('VALIDATE') === true;
    const version = bySchema && !this.#needSchema().knowsRevertDisks ? OLD_VERSION : TARGET_VERSION;
    const only = versions ?? (profile === 'modern-11.3' ? [TARGET_VERSION] : [version]);
    if (!only.includes(version)) throw new Skip(`only true for libvirt ${only.join(', ')}, and this is ${version}`);
    return version;
  }

  #judgeAnswer(one: ConformanceCase): Outcome {
    const version = this.#versionFor(one);
    const expected = one.byVersion?.[version] ?? one.expected;
    const actual = this.#answer(one);
    if (typeof expected === 'string') {
      const text = this.#read(expected).toString('utf8');
      if (actual instanceof DomainSnapshotError) return { result: 'failed', diff: lineDiff(text, describe(actual)) };
      return actual === text ? PASSED : { result: 'failed', diff: lineDiff(text, actual) };
    }
    if (expected === undefined) throw new Error(`the case ${one.id} expects nothing`);
    if (actual instanceof DomainSnapshotError && isExpected(actual, expected)) return PASSED;
    const text = actual instanceof DomainSnapshotError ? describe(actual) : actual;
    return { result: 'failed', diff: lineDiff(`${expected.code}: ${expected.message}`, text) };
  }

  #answer(one: ConformanceCase): string | DomainSnapshotError {
    try {
      const parsed = this.#parse(one);
      return one.kind === 'align' ? this.#align(one, parsed.snapshot) : format(one, parsed);
    } catch (error) {
      if (error instanceof DomainSnapshotError) return error;
      throw error;
    }
  }

  #parse(one: ConformanceCase): ParsedSnapshot {
    return parseSnapshot(this.#read(one.input), {
      flags: one.flags ?? [],
      profile: profileOf(one),
      // libvirt reads documents with a DOCTYPE; so that its answers can be compared, that is allowed here.
      doctype: 'internal',
      cookie: one.cookieAware === true ? 'qemu' : 'all',
      ...(one.creationTime === undefined ? {} : { now: BigInt(one.creationTime) }),
      ...(one.flags?.includes('VALIDATE') === true ? { schema: this.#needSchema() } : {}),
    });
  }

  #align(one: ConformanceCase, snapshot: Snapshot): string {
    const domain = one.domain === undefined ? undefined : parseDomainDocument(this.#read(one.domain));
    const own = one.domainFrom !== 'existing' && domain !== undefined ? { domain } : {};
    const { domain: _domain, ...aligned } = alignDisks(
      { ...snapshot, ...own },
      {
        defaultLocation: one.defaultLocation ?? 'internal',
        uniformInternal: one.uniformInternal ?? false,
        forceDefault: one.forceDefault ?? false,
        ...(one.domainFrom === 'existing' && domain !== undefined ? { existingDomain: domain } : {}),
        files: { isRegularFile: (path) => one.regularFiles?.includes(path) === true },
      },
    );
    return formatSnapshot(aligned, { flags: ['SECURE'], profile: profileOf(one) });
  }

  #needSchema(): SnapshotSchema {
    try {
      const folder = this.#schemaFolder === undefined ? {} : { folder: this.#schemaFolder };
      this.#schema ??= loadSnapshotSchema(folder);
      return this.#schema;
    } catch (error) {
      if (isFerryError(error, 'SCHEMA_MISSING')) throw new Skip(error.message);
      throw error;
    }
  }

  #read(path: string | undefined): Buffer {
    if (path === undefined) throw new Error('the case names no file');
    return readFileSync(join(this.#folder, path));
  }
}

function profileOf(one: ConformanceCase): Profile {
  return one.profile === 'seed-2012' ? 'seed-2012' : 'modern';
}

function reasonToSkip(one: ConformanceCase): string | undefined {
  if (one.profile === 'libvirt-unpatched') return 'what a libvirt without mirrors answers';
  return undefined;
}

function format(one: ConformanceCase, { snapshot, current }: ParsedSnapshot): string {
  const internal: readonly FormatFlag[] = one.flags?.includes('INTERNAL') === true ? ['INTERNAL'] : [];
  const flags = one.formatFlags ?? ['SECURE', ...internal, ...(current ? (['CURRENT'] as const) : [])];
  return formatSnapshot(one.setState === undefined ? snapshot : { ...snapshot, state: one.setState }, {
    flags,
    profile: profileOf(one),
    ...(one.uuid === undefined ? {} : { domainUuid: one.uuid }),
  });
}

function isExpected(error: DomainSnapshotError, expected: ExpectedError): boolean {
  return error.code === expected.code && (expected.match !== 'exact' || error.message === expected.message);
}

function describe(error: DomainSnapshotError): string {
  return `${error.code}: ${error.message}`;
}
