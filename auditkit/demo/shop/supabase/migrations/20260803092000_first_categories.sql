-- Data only: the shop opens with these four shelves.
insert into public.categories (slug, title) values
  ('tea', 'Tea'),
  ('coffee', 'Coffee'),
  ('pots', 'Pots and cups'),
  ('gifts', 'Gifts')
on conflict (slug) do nothing;
