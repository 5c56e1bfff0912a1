import { expect, test } from 'vitest';
import type { SchemaInfo } from './generated/commands.ts';
import { QmpSchema } from './schema.ts';

// The parts of the schema of QEMU 10.0 that concern `block-job-change`, and a list of alternates.
const SCHEMA: readonly SchemaInfo[] = [
  { 'meta-type': 'command', name: 'block-job-change', 'arg-type': '1', 'ret-type': '0' },
  { 'meta-type': 'command', name: 'list', 'arg-type': '6', 'ret-type': '[6]', 'allow-oob': true },
  { 'meta-type': 'event', name: 'STOP', 'arg-type': '0' },
  { 'meta-type': 'object', name: '0', members: [] },
  {
    'meta-type': 'object',
    name: '1',
    tag: 'type',
    members: [
      { name: 'id', type: 'str' },
      { name: 'type', type: '2' },
    ],
    variants: [
      { case: 'mirror', type: '3' },
      { case: 'commit', type: '0' },
    ],
  },
  { 'meta-type': 'enum', name: '2', members: [], values: ['commit', 'mirror'] },
  { 'meta-type': 'object', name: '3', members: [{ name: 'copy-mode', type: '4' }] },
  { 'meta-type': 'enum', name: '4', members: [], values: ['background', 'write-blocking'] },
  { 'meta-type': 'builtin', name: 'str', 'json-type': 'string' },
  { 'meta-type': 'alternate', name: '5', members: [{ type: 'str' }, { type: '6' }] },
  { 'meta-type': 'object', name: '6', members: [{ name: 'child', type: '[5]' }] },
  { 'meta-type': 'array', name: '[5]', 'element-type': '5' },
  { 'meta-type': 'array', name: '[6]', 'element-type': '6' },
];
const schema = new QmpSchema(SCHEMA);

test('commands and events', () => {
  expect([schema.has('block-job-change'), schema.has('STOP'), schema.has('1'), schema.has('x')]).toEqual([
    true,
    false,
    false,
    false,
  ]);
  expect([schema.hasEvent('STOP'), schema.hasEvent('list')]).toEqual([true, false]);
  expect([schema.canRunOutOfBand('list'), schema.canRunOutOfBand('block-job-change')]).toEqual([true, false]);
});

test('arguments: members, those of variants, values of enums', () => {
  expect(schema.hasArgument('block-job-change', 'id')).toBe(true);
  expect(schema.hasArgument('block-job-change', 'copy-mode')).toBe(true);
  expect(schema.hasArgument('block-job-change', 'copy-mode', 'write-blocking')).toBe(true);
  expect(schema.hasArgument('block-job-change', 'copy-mode', 'other')).toBe(false);
  expect(schema.hasArgument('block-job-change', 'copy-mode', 'background', 'more')).toBe(false);
  expect(schema.hasArgument('block-job-change', 'id', 'more')).toBe(false);
  expect(schema.hasArgument('block-job-set-speed', 'id')).toBe(false);
});

test('through lists and alternates, as deep as it is asked', () => {
  expect(schema.hasArgument('list', 'child', 'child', 'child')).toBe(true);
  expect(schema.hasArgument('list', 'child', 'other')).toBe(false);
  expect(schema.hasReturn('list', 'child', 'child')).toBe(true);
});
