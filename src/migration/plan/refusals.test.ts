import { describe, expect, test } from 'vitest';
import { ferryError } from '../../base/index.ts';
import type { Disk } from '../../vm/index.ts';
import { withKeptSnapshots } from './kept-snapshots.ts';
import { planRefused, refusals, sourceRefusals } from './refusals.ts';
import type { MigrationRequest } from './request.ts';
import type { Survey, SurveyedDisk, SurveyedFolder } from './survey.ts';
import { sampleChain, sampleDisk, sampleInventory, sampleSurvey, surveyed } from './testing/sample-survey.ts';

const codes = (survey: Survey): string[] => refusals(survey).map(({ code }) => code);
const one = (more: Partial<Disk>, survey: Partial<SurveyedDisk> = {}): SurveyedDisk => {
  const chain = sampleChain('/fast/a.qcow2');
  return { disk: sampleDisk('a', chain, more), folder: '/big', chain, refusals: [], ...survey };
};
const asked = (survey: Survey, request: Partial<MigrationRequest>): Survey => ({
  ...survey,
  request: { ...survey.request, ...request },
});

test('nothing speaks against a plain disk', () => {
  expect(codes(sampleSurvey([surveyed('a', ['/fast/a.qcow2', '/fast/base.raw'])]))).toEqual([]);
});

describe('a disk is refused', () => {
  test.each<[string, string, Partial<Disk>]>([
    ['that another VM may write to', 'DISK_SHAREABLE', { shareable: true }],
    ['that is read-only', 'DISK_STAYS', { readOnly: true }],
    ['that is removable', 'DISK_STAYS', { removable: true }],
    ['that is firmware', 'DISK_STAYS', { deviceType: 'cfi.pflash01' }],
    ['below a filter', 'DISK_FILTER', { filters: ['throttle'] }],
    ['with a bitmap that is nowhere but in memory', 'DISK_BITMAPS', { bitmaps: [{ name: 'b', persistent: false }] }],
  ])('%s', (_, code, disk) => {
    expect(codes(sampleSurvey([one(disk)]))).toEqual([code]);
  });

  test('that has an image which is no local file', () => {
    const { disk } = one({});
    const [image] = disk.images;
    if (image === undefined) throw new Error('an image');
    const { path, ...remote } = image;
    expect(path).toBeDefined();
    expect(codes(sampleSurvey([one({ images: [{ ...remote, protocol: 'nbd' }] })]))).toEqual(['DISK_NOT_A_FILE']);
  });

  test('with a persistent bitmap only where it would miss writes', () => {
    const survey = sampleSurvey([one({ bitmaps: [{ name: 'b', persistent: true }] })]);
    expect(codes(survey)).toEqual([]);
    expect(codes(asked(survey, { fold: false }))).toEqual(['DISK_BITMAPS']);
  });

  test('that is raw where a link would lead to an overlay', () => {
    const raw = sampleSurvey([surveyed('a', ['/fast/a.raw'])]);
    const qcow2 = sampleSurvey([surveyed('a', ['/fast/a.qcow2'])]);
    expect(codes(asked(raw, { leaveLink: true, fold: false }))).toEqual(['LINK_FORMAT']);
    expect(codes(asked(raw, { leaveLink: true }))).toEqual([]);
    expect(codes(asked(raw, { fold: false }))).toEqual([]);
    expect(codes(asked(qcow2, { leaveLink: true, fold: false }))).toEqual([]);
  });

  test('for what was found in its files', () => {
    const refusal = ferryError('IMAGE_ENCRYPTED', { path: '/fast/a.qcow2' });
    expect(codes(sampleSurvey([one({}, { refusals: [refusal], chain: [] })]))).toEqual(['IMAGE_ENCRYPTED']);
  });
});

const to = (folder: Partial<SurveyedFolder>, path = '/big'): string[] => {
  const folders = new Map([[path, { path, names: new Set<string>(), ...folder }]]);
  return codes(sampleSurvey([surveyed('a', ['/fast/a.qcow2'], { folder: path })], { folders }));
};

describe('a target is refused', () => {
  test.each(['missing', 'not-a-folder', 'not-writable'] as const)('that is %s', (problem) => {
    expect(to({ problem })).toEqual(['TARGET_FOLDER']);
  });
  test('that the VM may not look into', () => {
    expect(to({ cannotOpen: 'Permission denied' })).toEqual(['TARGET_NOT_OPENABLE']);
  });
  test('that is the source, or lies in it, but not one whose name only begins alike', () => {
    expect(to({}, '/fast')).toEqual(['TARGET_INSIDE_SOURCE']);
    expect(to({}, '/fast/deep/er')).toEqual(['TARGET_INSIDE_SOURCE']);
    expect(to({}, '/faster')).toEqual([]);
  });
  test('that has a file of the name', () => {
    expect(to({ names: new Set(['a.qcow2']) })).toEqual(['TARGET_NAME_TAKEN']);
  });
  test('where two images would have one name, but not for an image of two disks', () => {
    const clash = [surveyed('a', ['/fast/a.qcow2']), surveyed('b', ['/slow/a.qcow2'])];
    expect(codes(sampleSurvey(clash))).toEqual(['TARGET_NAME_CLASH']);
    const shared = [
      surveyed('a', ['/fast/a.qcow2', '/fast/base.raw']),
      surveyed('b', ['/fast/b.qcow2', '/fast/base.raw']),
    ];
    expect(codes(sampleSurvey(shared))).toEqual([]);
  });
  test('that was not given', () => {
    const { folder, ...nowhere } = surveyed('a', ['/fast/a.qcow2']);
    expect(folder).toBe('/big');
    expect(codes(sampleSurvey([nowhere]))).toEqual(['NO_TARGET']);
  });
});

test('a VM is refused that has a job, is on its way to another host, or has nothing to move', () => {
  const disks = [surveyed('a', ['/fast/a.qcow2'])];
  const inventory = sampleInventory(
    disks.map(({ disk }) => disk),
    { jobs: [{ id: 'j', type: 'backup', status: 'running' }], liveMigration: 'active' },
  );
  expect(codes(sampleSurvey(disks, { inventory })).toSorted()).toEqual(['VM_HAS_JOB', 'VM_IS_MIGRATING']);
  expect(codes(sampleSurvey([]))).toEqual(['NO_DISK_TO_MOVE']);
  expect(codes(sampleSurvey(disks, { unknown: ['vdz'] }))).toEqual(['NO_SUCH_DISK']);
});

test('each reason is said once, and all of them are in the one error', () => {
  const refused = refusals(sampleSurvey([one({ shareable: true, filters: ['throttle'] }), one({ shareable: true })]));
  expect(refused.map(({ code }) => code)).toEqual(['DISK_SHAREABLE', 'DISK_FILTER']);
  const error = planRefused('web', refused);
  expect(error.details['refusals']).toHaveLength(2);
  for (const { message } of refused) expect(error.message).toContain(message);
});

test('whatever is done with a disk, what is wrong with it is refused; where it would go is another matter', () => {
  const { folder: _folder, ...nowhere } = surveyed('a', ['/fast/a.qcow2']);
  expect(sourceRefusals(sampleSurvey([nowhere]))).toEqual([]);
  const bad = { ...nowhere, disk: { ...nowhere.disk, shareable: true } };
  const found = sourceRefusals(sampleSurvey([bad, bad], { unknown: ['vdz'] }));
  expect(found.map(({ code }) => code)).toEqual(['NO_SUCH_DISK', 'DISK_SHAREABLE']);
  expect(planRefused('web', found, 'SNAPSHOT_REFUSED').message).toMatch(/^the snapshot of web is refused/);
});

test('snapshots that blockferry keeps stand in the way of a migration', () => {
  const survey = sampleSurvey([surveyed('a', ['/fast/a.qcow2'])]);
  expect(withKeptSnapshots(survey, [])).toBe(survey);
  const [refused, ...more] = refusals(withKeptSnapshots(survey, [{ name: 's1' }, { name: 's2' }]));
  expect(more).toEqual([]);
  expect(refused?.code).toBe('VM_HAS_OBSTACLES');
  expect(refused?.message).toContain("blockferry keeps the snapshots 's1', 's2', which name its files");
});
