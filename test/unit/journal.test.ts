import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileIn, Journal, type JournalEntry } from '../../guestagent/journal.ts';

let dir: string;
let path: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'coffer-journal-'));
  path = join(dir, 'journal.jsonl');
});

afterEach(() => rm(dir, { recursive: true }));

function entryOf(attempt: number, note = ''): JournalEntry {
  return {
    attempt: { upgrade_id: 'u', step: 1, attempt, action: 'upgrade', status: 'running' },
    info: { note },
    fence: 7,
    request_id: 'req-1',
  };
}

/** As an agent finds it that starts now. */
async function found(): Promise<JournalEntry | null> {
  const journal = new Journal(fileIn(dir));
  await journal.load();
  return journal.entry;
}

async function write(...entries: readonly JournalEntry[]): Promise<Journal> {
  const journal = new Journal(fileIn(dir));
  await journal.load();
  for (const entry of entries) await journal.write(entry);
  return journal;
}

describe('the file of a journal', () => {
  it('holds nothing at first, then always what was written last', async () => {
    expect(await found()).toBeNull();
    await write(entryOf(1));
    expect(await found()).toEqual(entryOf(1));
    await write(entryOf(2, 'in\ntwo lines'), entryOf(3));
    expect(await found()).toEqual(entryOf(3));
  });

  it('holds the entry before when the host fails in the midst of a line, wherever that is', async () => {
    await write(entryOf(1), entryOf(2));
    const whole = await readFile(path);
    const begin = whole.indexOf('\n', whole.indexOf('\n', 1) + 1);
    for (let end = begin; end < whole.length; end++) {
      await writeFile(path, whole.subarray(0, end));
      expect((await found())?.attempt.attempt).toBe(1);
    }
    // And whoever goes on from there is not misread afterwards.
    for (let end = begin; end < whole.length; end += 7) {
      await writeFile(path, whole.subarray(0, end));
      await write(entryOf(3));
      expect((await found())?.attempt.attempt).toBe(3);
    }
  });

  it('passes over what a failing disk has left behind the last entry', async () => {
    await write(entryOf(1));
    await appendFile(path, Buffer.alloc(300));
    expect((await found())?.attempt.attempt).toBe(1);
    await appendFile(path, '\n{"attempt":\nnull\n');
    expect((await found())?.attempt.attempt).toBe(1);
  });

  it('keeps the ids of earlier orders, as many as can come again, through restarts', async () => {
    const named = (upgrade_id: string) => ({
      ...entryOf(1),
      attempt: { ...entryOf(1).attempt, upgrade_id, step: 0 },
    });
    const ids = Array.from({ length: 200 }, (_, index) => `order-${index}`);
    await write(...ids.map(named));
    const journal = await write();
    const standing = (upgrade_id: string) => journal.compare(named(upgrade_id).attempt, null);
    expect(standing('order-199')).toBe('same');
    expect(ids.slice(80, 199).map(standing)).toEqual(Array(119).fill('stale'));
    expect(standing('another')).toBe('new');
    expect(journal.entry?.past).toHaveLength(128);
  });

  it('goes on with an upgrade into which a plain order came: its attempts are known as before', async () => {
    const journal = await write(entryOf(2));
    const plain = { ...entryOf(1).attempt, upgrade_id: 'message-1', step: 0 };
    await journal.write({ ...entryOf(1), attempt: plain, plain: true });
    const standings = [1, 2, 3].map((attempt) => journal.compare(entryOf(attempt).attempt, 7));
    expect(standings).toEqual(['stale', 'same', 'new']);
    expect([journal.holds(plain), journal.holds(entryOf(2).attempt)]).toEqual([true, false]);
    await journal.write(entryOf(3));
    expect(journal.compare(plain, null)).toBe('stale');
    expect(journal.compare({ ...plain, upgrade_id: 'u2' }, 7)).toBe('stale');
  });

  it('does not grow without end, and is for nobody else to read', async () => {
    const journal = await write(entryOf(0));
    const note = 'x'.repeat(10_000);
    let largest = 0;
    for (let attempt = 1; attempt < 30; attempt++) {
      await journal.write(entryOf(attempt, note));
      largest = Math.max(largest, (await stat(path)).size);
      expect((await found())?.attempt.attempt).toBe(attempt);
    }
    expect(largest).toBeLessThan(70_000);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('says so when an entry can not be written, and goes on from what it has', async () => {
    const journal = await write(entryOf(1));
    const lost = new Journal(fileIn(join(dir, 'gone')));
    await expect(lost.write(entryOf(2))).rejects.toThrow('ENOENT');
    expect(lost.entry).toBeNull();
    await journal.write(entryOf(3));
    expect((await found())?.attempt.attempt).toBe(3);
  });
});
