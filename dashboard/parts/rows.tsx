import type { ReactNode } from 'react';

interface RowsProps {
  /** Describes the table for users who cannot see what surrounds it. */
  readonly caption: string;
  readonly columns: readonly string[];
  readonly className?: string;
  /** The table's rows. On a phone each row is a card, and `data-label` names each of its cells. */
  readonly children: ReactNode;
}

export function Rows({ caption, columns, className = '', children }: RowsProps) {
  return (
    <div className="table-frame">
      <table className={`rows ${className}`}>
        <caption className="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
