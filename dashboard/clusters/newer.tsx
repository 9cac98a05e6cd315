import type { ClusterDocument } from '../../client/index.ts';
import { count } from '../format.ts';
import { UpIcon } from '../parts/icons.tsx';
import { Link } from '../router.tsx';
import { useSession } from '../session.tsx';

/**
 * If an upgrade is under way: names its target version. Otherwise: says that a newer version exists, and
 * links to it.
 */
export function NewerVersions({ cluster }: { readonly cluster: ClusterDocument }) {
  const { href, may } = useSession();
  if (cluster.upgrade) return <span className="mono quiet">→ {cluster.upgrade.to}</span>;
  const newest = cluster.upgrades_to?.at(-1);
  if (newest === undefined) return null;
  const others = (cluster.upgrades_to?.length ?? 1) - 1;
  const text = `${newest} available`;
  const title = others > 0 ? `${text}, and ${count(others, 'other version')}` : text;
  if (!may('cluster:action') || cluster.task.name !== 'NONE') {
    return (
      <span className="newer" title={title}>
        <UpIcon />
        {text}
      </span>
    );
  }
  return (
    <Link
      className="newer over"
      to={href(['clusters', cluster.id, 'upgrade'])}
      title={title}
      aria-label={`Upgrade ${cluster.name}: ${title}`}
    >
      <UpIcon />
      {text}
    </Link>
  );
}
