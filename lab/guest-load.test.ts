import { expect, test } from 'vitest';
import { fioCommand, parseFio } from './guest-load.ts';

const none = { total_ios: 0, io_bytes: 0, iops: 0, lat_ns: { min: 0, max: 0, mean: 0 } };
const some = {
  total_ios: 10,
  io_bytes: 40960,
  iops: 5.5,
  lat_ns: { min: 1e5, max: 9e6, mean: 2e6, percentile: { '50.000000': 1e6, '99.000000': 8e6 } },
};

test('the result stands after whatever fio warned of', () => {
  const output = `note: both iodepth >= 1 and {}\n${JSON.stringify({ jobs: [{ error: 5, read: none, write: some }] }, null, 2)}\n`;
  expect(parseFio(output)).toMatchObject({
    error: 5,
    read: { ios: 0, latencyMs: { mean: 0, p99: 0 } },
    write: { ios: 10, bytes: 40960, iops: 5.5, latencyMs: { mean: 2, p50: 1, p99: 8, max: 9 } },
  });
});

test('no result is an error that holds what fio said', () => {
  expect(() => parseFio('fio: no such device\n')).toThrow('fio: no such device');
});

test('rates and regions reach fio, and nothing that was not asked for', () => {
  const plain = fioCommand('/dev/vda', { disk: 'a', pattern: 'randwrite' }, 'load');
  expect(plain).not.toMatch(/--rate|--offset|--size|--verify/);
  const full = { disk: 'a', pattern: 'write', iops: 7, bytesPerSecond: 8, offset: 9, size: 10, verify: true } as const;
  expect(fioCommand('/dev/vda', full, 'load')).toMatch(/--rate_iops=7 --rate=8 --offset=9 --size=10 --verify=crc32c/);
});
