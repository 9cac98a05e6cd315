import { useEffect, useState } from 'react';

/** Of the window: a phone's is narrow. */
export type Shape = 'wide' | 'narrow';

export function useShape(): Shape {
  const [shape, setShape] = useState<Shape>(() => (isNarrow().matches ? 'narrow' : 'wide'));
  useEffect(() => {
    const query = isNarrow();
    const look = () => setShape(query.matches ? 'narrow' : 'wide');
    query.addEventListener('change', look);
    return () => query.removeEventListener('change', look);
  }, []);
  return shape;
}

function isNarrow(): MediaQueryList {
  return window.matchMedia('(width <= 720px)');
}
