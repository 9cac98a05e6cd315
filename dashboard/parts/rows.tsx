import type { ReactNode } from 'react';

interface RowsProps {
  /** What the table holds, for who does not see what is around it. */
  readonly caption: string;
  readonly columns: readonly string[];
  readonly className?: string;
  /** Its rows; on a phone each is a card, whose cells say what they are by `data-label`. */
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
