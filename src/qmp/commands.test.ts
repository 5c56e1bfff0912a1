// What the compiler makes of the generated types; `tsc` is what fails here.
import { expect, expectTypeOf, test } from 'vitest';
import type { ExecuteParameters } from './client.ts';
import type { CommandArguments, CommandReturns, EventOf, QmpEvent } from './commands.ts';
import type { BlockdevOptions, Empty } from './generated/commands.ts';

test('arguments are told apart by the command', () => {
  expectTypeOf<CommandArguments<'blockdev-mirror'>['sync']>().toEqualTypeOf<
    'top' | 'full' | 'none' | 'incremental' | 'bitmap'
  >();
  expectTypeOf<CommandArguments<'blockdev-mirror'>['speed']>().toEqualTypeOf<number | bigint | undefined>();
  expectTypeOf<CommandArguments<'query-status'>>().toEqualTypeOf<Empty>();
  // Options of a call are not taken for arguments of a command that has none.
  expectTypeOf<{ timeoutMs: number }>().not.toExtend<CommandArguments<'query-status'>>();
  expectTypeOf<[]>().toExtend<ExecuteParameters<'query-status'>>();
  expectTypeOf<[]>().toExtend<ExecuteParameters<'query-named-block-nodes'>>();
  expectTypeOf<[]>().not.toExtend<ExecuteParameters<'blockdev-add'>>();
});

test('block nodes are a union told apart by the driver', () => {
  const node: BlockdevOptions = {
    driver: 'qcow2',
    'node-name': 'a',
    file: { driver: 'file', filename: '/a', aio: 'native' },
    backing: null,
  };
  expect(node.driver).toBe('qcow2');
  expectTypeOf<{ driver: 'qcow2' }>().not.toExtend<BlockdevOptions>();
  expectTypeOf<{ driver: 'file'; filename: string }>().toExtend<BlockdevOptions>();
  expectTypeOf<{ driver: 'file'; filename: number }>().not.toExtend<BlockdevOptions>();
});

test('answers and events have their members', () => {
  expectTypeOf<CommandReturns<'query-status'>['running']>().toEqualTypeOf<boolean>();
  expectTypeOf<CommandReturns<'query-block-jobs'>[number]['offset']>().toEqualTypeOf<number>();
  expectTypeOf<CommandReturns<'query-blockstats'>[number]['stats']['wr_bytes']>().toEqualTypeOf<number | bigint>();
  expectTypeOf<Extract<QmpEvent, { event: 'JOB_STATUS_CHANGE' }>>().toExtend<EventOf<'JOB_STATUS_CHANGE'>>();
  expectTypeOf<EventOf<'JOB_STATUS_CHANGE'>['data']['id']>().toEqualTypeOf<string>();
});
