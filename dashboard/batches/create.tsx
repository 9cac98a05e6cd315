import { useDeferredValue, useState } from 'react';
import type { DatastoreDocument, ResolvedBatchAnswer } from '../../client/index.ts';
import { byName } from '../clusters/filter.ts';
import { useDoing, usePolled } from '../data.ts';
import { count } from '../format.ts';
import { Button, Card, Spinner } from '../parts/basics.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { FailureNote, Reading } from '../parts/failure.tsx';
import { Check, Field, Select, TextInput } from '../parts/fields.tsx';
import { Page } from '../parts/page.tsx';
import { go, Link } from '../router.tsx';
import { useSession } from '../session.tsx';
import { BATCH_DRAFT, type PolicyDraft, policyTexts, problemsOf } from '../upgrades/policy.ts';
import { PolicyForm } from '../upgrades/policy-form.tsx';
import { type BatchDraft, batchOf, FIRST_WAVES, problemOf } from './draft.ts';
import { WaveEditor } from './wave-editor.tsx';

const PREVIEW_EVERY_MS = 5_000;
/** Shows only this many clusters; once the batch has begun, its report has all of them. */
const SHOWN = 50;

export function CreateBatchScreen() {
  const { href } = useSession();
  const { data, error, reload } = usePolled((client) => client.datastores.list(), {
    key: 'datastores',
    everyMs: null,
  });
  return (
    <Page title="New batch" crumbs={<Link to={href(['batches'])}>Batches</Link>}>
      <Reading what="the datastores" data={data} error={error} reload={reload} />
      {data && <BatchForm datastores={data} />}
    </Page>
  );
}

function newest({ versions }: DatastoreDocument): string {
  const active = versions.filter((version) => version.active === 1).map(({ name }) => name);
  return active.toSorted(byName).at(-1) ?? '';
}

function firstDraft([first]: readonly DatastoreDocument[]): BatchDraft {
  const version = first ? newest(first) : '';
  const selector = { range: '', pattern: '', tag: '', allTenants: false };
  const plain = { ...selector, waves: FIRST_WAVES, policy: BATCH_DRAFT };
  return { name: '', datastore: first?.name ?? '', version, ...plain };
}

function BatchForm({ datastores }: { readonly datastores: readonly DatastoreDocument[] }) {
  const [draft, setDraft] = useState(() => firstDraft(datastores));
  const set = (part: Partial<BatchDraft>) => setDraft((before) => ({ ...before, ...part }));
  const problem = problemOf(draft);
  const key = useDeferredValue(JSON.stringify(problem ?? batchOf(draft)));
  const { data, error } = usePolled(
    async (client) => (problem === null ? client.batches.plan(batchOf(draft)) : null),
    { key, everyMs: PREVIEW_EVERY_MS },
  );
  return (
    <div className="columns ask">
      <div className="stack">
        <Card title="Which clusters">
          <Selection datastores={datastores} draft={draft} onChange={set} />
        </Card>
        <Card title="In which waves">
          <WaveEditor waves={draft.waves} onChange={(waves) => set({ waves })} />
        </Card>
        <Card title="How each is upgraded">
          <EachPolicy draft={draft.policy} onChange={(policy) => set({ policy })} />
        </Card>
      </div>
      <Card title="What it comes to" className="preview" aside="a preview: nothing changes">
        {problem !== null && <p className="quiet">{problem}</p>}
        {problem === null && error !== undefined && (
          <FailureNote error={error} what="There is nothing to do like this" />
        )}
        {problem === null && !data && error === undefined && <Spinner label="Looking" />}
        {problem === null && data && <Preview resolved={data} />}
        {problem === null && data && <BeginButton draft={draft} resolved={data} />}
      </Card>
    </div>
  );
}

interface SelectionProps {
  readonly datastores: readonly DatastoreDocument[];
  readonly draft: BatchDraft;
  readonly onChange: (part: Partial<BatchDraft>) => void;
}

function Selection({ datastores, draft, onChange }: SelectionProps) {
  const { may } = useSession();
  const chosen = datastores.find(({ name }) => name === draft.datastore);
  const versions = (chosen?.versions ?? []).filter(({ active }) => active === 1).map(({ name }) => name);
  const options = versions.toSorted((a, b) => byName(b, a)).map((name) => ({ value: name, label: name }));
  const choose = (datastore: string) => {
    const found = datastores.find(({ name }) => name === datastore);
    onChange({ datastore, version: found ? newest(found) : '' });
  };
  const text = (field: 'name' | 'range' | 'pattern' | 'tag', label: string, placeholder: string) => (
    <Field label={label}>
      {(id) => (
        <TextInput
          id={id}
          value={draft[field]}
          placeholder={placeholder}
          onChange={(value) => onChange({ [field]: value })}
        />
      )}
    </Field>
  );
  return (
    <div className="stack">
      <div className="field-row">
        <Field label="Datastore">
          {(id) => (
            <Select
              id={id}
              value={draft.datastore}
              onChange={choose}
              options={datastores.map(({ name }) => ({ value: name, label: name }))}
            />
          )}
        </Field>
        <Field label="To version">
          {(id) => (
            <Select
              id={id}
              value={draft.version}
              onChange={(version) => onChange({ version })}
              options={options}
            />
          )}
        </Field>
      </div>
      <div className="field-row">
        {text('range', 'Present version', 'any, or >=17.0 <17.10')}
        {text('pattern', 'Name', 'any, or shop-*')}
        {text('tag', 'Tag', 'any')}
      </div>
      {text('name', 'Name of the batch', 'optional')}
      {may('batch:all_tenants') && (
        <Check
          label="Clusters of every project"
          isChecked={draft.allTenants}
          onChange={(allTenants) => onChange({ allTenants })}
        />
      )}
    </div>
  );
}

interface EachPolicyProps {
  readonly draft: PolicyDraft;
  readonly onChange: (draft: PolicyDraft) => void;
}

function EachPolicy({ draft, onChange }: EachPolicyProps) {
  return (
    <div className="stack">
      <PolicyForm
        draft={draft}
        problems={problemsOf(draft)}
        onChange={(part) => onChange({ ...draft, ...part })}
      />
      <p className="hint">
        An upgrade that pauses for a failure counts as failed while it waits; one that waits for an approval
        holds its place in the wave.
      </p>
    </div>
  );
}

function Preview({ resolved: { batch, clusters } }: { readonly resolved: ResolvedBatchAnswer }) {
  const leftOut = clusters.filter(({ wave }) => wave === null);
  return (
    <div className="stack">
      <p>
        <b>{count(batch.size - batch.left_out, 'cluster')}</b> to {batch.datastore} {batch.to.name}
        {batch.left_out > 0 && `, and ${batch.left_out} left out`}.
      </p>
      {batch.waves.map(({ number, size, failures_allowed }) => {
        const names = clusters.filter(({ wave }) => wave === number).map((member) => member.cluster_name);
        return (
          <div key={number} className="wave-preview">
            <h3>
              Wave {number}{' '}
              <span className="quiet">
                {count(size, 'cluster')}, of which {failures_allowed} may fail
              </span>
            </h3>
            <p className="quiet">
              {names.slice(0, SHOWN).join(', ') || 'nothing is left for it'}
              {names.length > SHOWN && ` and ${names.length - SHOWN} more`}
            </p>
          </div>
        );
      })}
      {leftOut.length > 0 && (
        <details>
          <summary>{count(leftOut.length, 'cluster')} left out, and why</summary>
          <ul className="reasons">
            {leftOut.slice(0, SHOWN).map(({ cluster_id, cluster_name, reason }) => (
              <li key={cluster_id}>
                <b>{cluster_name}</b> <span className="quiet">{reason}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

interface BeginButtonProps {
  readonly draft: BatchDraft;
  readonly resolved: ResolvedBatchAnswer;
}

function BeginButton({ draft, resolved: { batch } }: BeginButtonProps) {
  const { href } = useSession();
  const [isAsked, setAsked] = useState(false);
  const size = batch.size - batch.left_out;
  const beginning = useDoing(async (client) => {
    const begun = await client.batches.create(batchOf(draft));
    go(href(['batches', begun.batch.id]));
  });
  const close = () => {
    setAsked(false);
    beginning.forget();
  };
  const [first] = batch.waves;
  return (
    <div className="ask-button">
      <Button kind="primary" isDisabled={size === 0} onClick={() => setAsked(true)}>
        Upgrade {count(size, 'cluster')} …
      </Button>
      {isAsked && (
        <Dialog
          title={`Upgrade ${count(size, 'cluster')} to ${batch.to.name}?`}
          onClose={close}
          actions={
            <>
              <Button onClick={close}>Not now</Button>
              <Button kind="primary" isBusy={beginning.isBusy} onClick={() => void beginning.run()}>
                Begin
              </Button>
            </>
          }
        >
          {beginning.error !== undefined && (
            <FailureNote error={beginning.error} what="The batch was not begun" />
          )}
          <p>
            It begins with {count(first?.size ?? 0, 'cluster')} in wave 1, and goes on wave by wave,{' '}
            {batch.waves.length} in all.
          </p>
          <p>Each cluster: {policyTexts(batch.policy).join('; ')}.</p>
          <p>
            It stops by itself when more fail than a wave may, and then waits for you. It can be paused,
            cancelled, and taken back wave by wave.
          </p>
        </Dialog>
      )}
    </div>
  );
}
