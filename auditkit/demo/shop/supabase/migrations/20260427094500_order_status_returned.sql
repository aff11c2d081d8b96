-- Alone in its file: a new enum value cannot be used in the transaction that adds it.
alter type public.order_status add value 'returned' after 'delivered';
