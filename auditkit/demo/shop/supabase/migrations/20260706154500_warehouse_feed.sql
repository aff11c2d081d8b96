-- The warehouse subscribes to what it has to pick; the shop front listens to its own orders.
create publication warehouse_feed for table public.orders, public.order_items, public.stock_movements;
alter publication supabase_realtime add table public.orders;
