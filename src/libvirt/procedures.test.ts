/**
 * The tables of calls, events and constants beside libvirt's own files. They are not ours to keep here (LGPL), so this
 * needs a source tree of libvirt, whose path LIBVIRT_SOURCE gives: `apt-get source libvirt`, for one.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import * as constants from './constants.ts';
import { DOMAIN_EVENTS } from './protocol/events.ts';
import { QEMU_CALLS, REMOTE_CALLS } from './protocol/procedures.ts';
import { ERROR_FIELDS } from './protocol/remote-error.ts';
import type { Fields } from './protocol/types.ts';

const SOURCE = process.env['LIBVIRT_SOURCE'] ?? '';
const present = existsSync(join(SOURCE, 'src/remote/remote_protocol.x'));

const TABLES = { ...constants };

/** A protocol file without its comments. */
const read = (path: string): string => readFileSync(join(SOURCE, path), 'utf8').replaceAll(/\/\*[^]*?\*\//g, '');

/** The words of our tables for the types of theirs. */
const WORDS: Readonly<Record<string, string>> = {
  int: 'int',
  'unsigned int': 'uint',
  'unsigned char': 'uint',
  'unsigned short': 'uint',
  remote_auth_type: 'int',
  hyper: 'hyper',
  'unsigned hyper': 'uhyper',
  remote_nonnull_string: 'text',
  remote_string: 'text?',
  virNetMessageString: 'text?',
  remote_uuid: 'uuid',
  remote_nonnull_domain: 'domain',
  remote_domain: 'domain?',
  virNetMessageDomain: 'domain?',
  virNetMessageNetwork: 'network?',
  remote_nonnull_domain_snapshot: 'snapshot',
  remote_nonnull_domain_checkpoint: 'checkpoint',
  remote_typed_param: 'param',
  remote_domain_disk_error: 'diskError',
  remote_domain_stats_record: 'statsRecord',
};

interface Protocol {
  readonly numbers: ReadonlyMap<string, number>;
  /** The fields of a structure in our words; undefined where there is no such structure. */
  readonly fields: (structure: string) => Fields | undefined;
}

function protocol(path: string, prefix: string, maxima: string = read(path)): Protocol {
  const text = read(path);
  const limits = new Map([...maxima.matchAll(/const (\w+)\s*=\s*(\d+)/g)].map(([, name = '', value]) => [name, value]));
  const numbers = new Map(
    [...text.matchAll(new RegExp(`${prefix}(\\w+) = (\\d+)`, 'g'))].map(([, name = '', n]) => [name, Number(n)]),
  );
  const fields = (structure: string): Fields | undefined => {
    const body = new RegExp(`struct ${structure} \\{([^}]*)\\}`).exec(text)?.[1];
    if (body === undefined) return undefined;
    const lines = body.split(';').map((line) => line.trim().replaceAll(/\s+/g, ' '));
    return Object.fromEntries(lines.filter(Boolean).flatMap((line) => field(line)));
  };
  const field = (line: string): (readonly [string, string])[] => {
    const [, type = '', name = '', limit] = /^(.*?) ?\b(\w+)(?:<(\w+)>)?$/.exec(line) ?? [];
    const word = WORDS[type];
    // What is no word is a structure that our tables hold without its wrapping.
    if (word === undefined) return Object.entries(fields(type) ?? { [name]: `unknown type ${type}` });
    return [[name, limit === undefined ? word : `${word}<${limits.get(limit)}>`]];
  };
  return { numbers, fields };
}

/** An object whose order matters. */
const ordered = (fields: Fields | undefined): unknown => Object.entries(fields ?? {});

describe.skipIf(!present)(
  `libvirt's own files (${present ? SOURCE : 'LIBVIRT_SOURCE names none: not compared'})`,
  () => {
    test.each(Object.entries(REMOTE_CALLS))('call %s', (name, [number, args, returned]) => {
      const { numbers, fields } = protocol('src/remote/remote_protocol.x', 'REMOTE_PROC_');
      expect(number).toBe(numbers.get(name));
      expect(ordered(args)).toEqual(ordered(fields(`remote_${name.toLowerCase()}_args`)));
      expect(ordered(returned)).toEqual(ordered(fields(`remote_${name.toLowerCase()}_ret`)));
    });

    test.each(Object.entries(QEMU_CALLS))('call %s', (name, [number, args, returned]) => {
      const { numbers, fields } = protocol('src/remote/qemu_protocol.x', 'QEMU_PROC_');
      expect(number).toBe(numbers.get(name.slice('QEMU_'.length)));
      expect(ordered(args)).toEqual(ordered(fields(`${name.toLowerCase()}_args`)));
      expect(ordered(returned)).toEqual(ordered(fields(`${name.toLowerCase()}_ret`)));
    });

    test.each(Object.entries(DOMAIN_EVENTS))('event %s', (name, { procedure, id, message }) => {
      const { numbers, fields } = protocol('src/remote/remote_protocol.x', 'REMOTE_PROC_');
      const header = readFileSync(join(SOURCE, 'include/libvirt/libvirt-domain.h'), 'utf8');
      const theirs = [`DOMAIN_EVENT_CALLBACK_${name}`, `DOMAIN_EVENT_${name}`].find(
        (candidate) => numbers.get(candidate) === procedure,
      );
      expect(theirs).toBeDefined();
      expect(header).toMatch(new RegExp(`VIR_DOMAIN_EVENT_ID_${name} = ${id},`));
      expect(ordered(message)).toEqual(ordered(fields(`remote_${theirs?.toLowerCase()}_msg`)));
    });

    test('errors', () => {
      expect(ordered(ERROR_FIELDS)).toEqual(
        ordered(protocol('src/rpc/virnetprotocol.x', 'none').fields('virNetMessageError')),
      );
    });

    test.each([
      ['ERR', 'VIR_ERR_'],
      ['DOMAIN_STATE', 'VIR_DOMAIN_'],
      ['AFFECT', 'VIR_DOMAIN_AFFECT_'],
      ['DOMAIN_XML', 'VIR_DOMAIN_XML_'],
      ['DOMAIN_DEFINE', 'VIR_DOMAIN_DEFINE_'],
      ['DOMAIN_START', 'VIR_DOMAIN_START_'],
      ['LIST_DOMAINS', 'VIR_CONNECT_LIST_DOMAINS_'],
      ['SNAPSHOT_CREATE', 'VIR_DOMAIN_SNAPSHOT_CREATE_'],
      ['SNAPSHOT_LIST', 'VIR_DOMAIN_SNAPSHOT_LIST_'],
      ['SNAPSHOT_DELETE', 'VIR_DOMAIN_SNAPSHOT_DELETE_'],
      ['SNAPSHOT_REVERT', 'VIR_DOMAIN_SNAPSHOT_REVERT_'],
      ['BLOCK_COPY', 'VIR_DOMAIN_BLOCK_COPY_'],
      ['BLOCK_COMMIT', 'VIR_DOMAIN_BLOCK_COMMIT_'],
      ['BLOCK_PULL', 'VIR_DOMAIN_BLOCK_PULL_'],
      ['BLOCK_REBASE', 'VIR_DOMAIN_BLOCK_REBASE_'],
      ['BLOCK_JOB_ABORT', 'VIR_DOMAIN_BLOCK_JOB_ABORT_'],
      ['BLOCK_JOB_INFO', 'VIR_DOMAIN_BLOCK_JOB_INFO_'],
      ['BLOCK_JOB_SPEED', 'VIR_DOMAIN_BLOCK_JOB_SPEED_'],
      ['BLOCK_JOB_TYPE', 'VIR_DOMAIN_BLOCK_JOB_TYPE_'],
      ['BLOCK_JOB_STATUS', 'VIR_DOMAIN_BLOCK_JOB_'],
      ['LIFECYCLE', 'VIR_DOMAIN_EVENT_'],
    ] as const)('the numbers of %s', (name, prefix) => {
      const files = ['libvirt-domain.h', 'libvirt-domain-snapshot.h', 'virterror.h'];
      const text = files.map((file) => read(join('include/libvirt', file))).join('\n');
      for (const [word, number] of Object.entries(TABLES[name])) {
        const match = new RegExp(`\\b${prefix}${word}\\s*=\\s*\\(?(\\d+)(?: << (\\d+))?\\)?`).exec(text);
        expect([word, Number(match?.[1]) << Number(match?.[2] ?? 0)]).toEqual([word, number]);
      }
    });
  },
);
