import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type {
  FormatFlag,
  LibvirtCode,
  ParseFlag,
  SnapshotLocation,
  SnapshotState,
} from '../../src/domainsnapshot/index.ts';

/** An error that a case expects. `match`: compare code and message, the code only, or nothing but that it is invalid. */
export interface ExpectedError {
  readonly code: LibvirtCode;
  readonly message: string;
  readonly match: 'exact' | 'code' | 'invalid';
}

/** One entry of `cases.json`, as far as it is run here. Paths are relative to the folder of the corpus. */
export interface ConformanceCase {
  readonly id: string;
  readonly kind: 'roundtrip' | 'in-out' | 'parse-error' | 'align' | 'schema-valid' | 'schema-invalid';
  readonly profile: 'modern' | 'modern-11.3' | 'modern+mirror' | 'seed-2012' | 'libvirt-unpatched';
  readonly normative?: boolean;
  readonly input?: string;
  readonly expected?: string | ExpectedError;
  /** What libvirt 11.3.0 answers where that is not `expected`; `valid` for a schema. */
  readonly byVersion?: Readonly<Record<string, string | ExpectedError>>;
  readonly versions?: readonly string[];
  readonly flags?: readonly ParseFlag[];
  readonly formatFlags?: readonly FormatFlag[];
  readonly uuid?: string;
  readonly creationTime?: number;
  /** Recorded with the qemu driver's handling of the cookie. */
  readonly cookieAware?: boolean;
  readonly setState?: SnapshotState;
  readonly domain?: string;
  readonly domainFrom?: 'snapshot' | 'existing';
  readonly defaultLocation?: SnapshotLocation;
  readonly uniformInternal?: boolean;
  readonly forceDefault?: boolean;
  readonly regularFiles?: readonly string[];
}

/** One command of a case and what virsh said. */
export interface VirshStep {
  readonly argv: readonly string[];
  readonly stdout: string;
  readonly stderr: string;
  readonly errorCodes?: readonly (string | null)[];
}

/** A case of the kind `virsh`, as the corpus' README describes it. */
export interface VirshCase extends Omit<ConformanceCase, 'kind' | 'byVersion' | 'expected' | 'input'> {
  readonly kind: 'virsh';
  readonly driver: 'test' | 'qemu';
  readonly fixture?: string;
  readonly images?: readonly { readonly path: string; readonly format: string; readonly size: string }[];
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly readonly?: boolean;
  readonly exitStatus?: number;
  readonly match?: 'code';
  readonly steps: readonly VirshStep[];
  readonly filesAfter?: Readonly<Record<string, FileAfter>>;
  readonly byVersion?: Readonly<Record<string, Partial<Pick<VirshCase, 'steps' | 'filesAfter'>>>>;
}

/** An image as a case leaves it. */
export interface FileAfter {
  readonly format: string;
  readonly backing?: string;
  /** Null: the header states none. */
  readonly backingFormat?: string | null;
  readonly internalSnapshots?: readonly string[];
}

/** The version whose answer is the target where the two differ. */
export const TARGET_VERSION = '11.3.0';

/** The other one. */
export const OLD_VERSION = '9.0.0';

/** Reads `cases.json` of a folder in the corpus format. */
export function readCases(folder: string): readonly (ConformanceCase | VirshCase)[] {
  return JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8')) as (ConformanceCase | VirshCase)[];
}
