/** The clusters of a batch; clusters in trouble come first. */
import { useState } from 'react';
import type { BatchMemberDocument } from '../../client/index.ts';
import { firstOf, usePolled } from '../data.ts';
import { duration } from '../format.ts';
import { Button, Card, Empty, Pill } from '../parts/basics.tsx';
import { FailureNote } from '../parts/failure.tsx';
import { Rows } from '../parts/rows.tsx';
import { Link } from '../router.tsx';
import { useSession } from '../session.tsx';
import { MEMBER_WORDS, memberWord } from '../words.ts';

const PAGE = 50;
const EVERY_MS = 2_000;

type State = BatchMemberDocument['state'];

interface MembersProps {
  readonly id: string;
  readonly counts: Readonly<Record<State, number>>;
  readonly isOver: boolean;
}

export function Members({ id, counts, isOver }: MembersProps) {
  const [chosen, setChosen] = useState<State>();
  const [limit, setLimit] = useState(PAGE);
  const { data, error } = usePolled((client) => firstOf(client.batches.clusters(id, chosen), limit), {
    key: `${id} ${chosen ?? ''} ${limit}`,
    everyMs: isOver ? null : EVERY_MS,
  });
  const states = (Object.keys(MEMBER_WORDS) as State[]).filter((state) => counts[state] > 0);
  const choose = (state: State | undefined) => {
    setChosen(state);
    setLimit(PAGE);
  };
  return (
    <Card title="Clusters">
      <fieldset className="chips" aria-label="Show only clusters in one state">
        <Button kind="quiet" isPressed={chosen === undefined} onClick={() => choose(undefined)}>
          All
        </Button>
        {states.map((state) => (
          <Button key={state} kind="quiet" isPressed={chosen === state} onClick={() => choose(state)}>
            {MEMBER_WORDS[state].text} {counts[state]}
          </Button>
        ))}
      </fieldset>
      {error !== undefined && <FailureNote error={error} what="The clusters could not be read" />}
      {data?.items.length === 0 && <Empty title="None is in that state any more" />}
      {data && data.items.length > 0 && <MemberTable members={data.items} />}
      {data?.hasMore && (
        <div className="more">
          <Button onClick={() => setLimit(limit + PAGE)}>Show more</Button>
        </div>
      )}
    </Card>
  );
}

function MemberTable({ members }: { readonly members: readonly BatchMemberDocument[] }) {
  return (
    <Rows caption="Clusters of the batch, in order" columns={['Cluster', 'Wave', 'State', 'Took', 'Reason']}>
      {members.map((member) => (
        <MemberRow key={member.position} member={member} />
      ))}
    </Rows>
  );
}

function MemberRow({ member }: { readonly member: BatchMemberDocument }) {
  const { href } = useSession();
  const { cluster_id, cluster_name, wave, duration_ms, reason, upgrade_id } = member;
  const word = memberWord(member);
  const to = upgrade_id === null ? href(['clusters', cluster_id]) : href(['upgrades', upgrade_id]);
  return (
    <tr>
      <th scope="row">
        <Link className="row-link" to={to}>
          {cluster_name}
        </Link>
      </th>
      <td data-label="Wave">{wave ?? '–'}</td>
      <td data-label="State">
        <Pill tone={word.tone}>{word.text}</Pill>
      </td>
      <td data-label="Took">{duration_ms === null ? '–' : duration(duration_ms)}</td>
      <td data-label="Reason" className="quiet reason">
        {reason}
      </td>
    </tr>
  );
}
