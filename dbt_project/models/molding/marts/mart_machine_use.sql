-- One row per machine: its shifts, its idle shifts and its production.
with records as (

    select
        *,
        record_date::varchar || ' ' || working_shift as shift,
    from {{ ref('int_molding__product_records') }}

),

machines as (

    select * from {{ ref('stg_molding__machine_info') }}

),

totals as (

    select
        machine_no,
        count(distinct shift) as shifts_count,
        count(distinct shift)
        - count(distinct shift) filter (where item_code is not null) as idle_shifts_count,
        coalesce(sum(mold_shots), 0)::bigint as mold_shots,
        coalesce(sum(total_pieces), 0)::bigint as total_pieces,
        coalesce(sum(good_pieces), 0)::bigint as good_pieces,
    from records
    group by machine_no

),

machine_use as (

    select
        coalesce(totals.machine_no, machines.machine_no) as machine_no,
        machines.machine_code,
        machines.machine_name,
        machines.tonnage_t,
        coalesce(totals.shifts_count, 0) as shifts_count,
        coalesce(totals.idle_shifts_count, 0) as idle_shifts_count,
        coalesce(totals.mold_shots, 0) as mold_shots,
        coalesce(totals.total_pieces, 0) as total_pieces,
        coalesce(totals.good_pieces, 0) as good_pieces,
        round(100.0 * totals.good_pieces / nullif(totals.total_pieces, 0), 2) as yield_pct,
    from machines
    full outer join totals on machines.machine_no = totals.machine_no

)

select * from machine_use
