-- One row per row of every published table, as a digest: what moved is told without a copy of it.
{%- set keys = {
    'product_records': [
        'productRecords',
        ['"recordDate"', '"workingShift"', '"machineNo"', '"poNote"'],
    ],
    'purchase_orders': ['purchaseOrders', ['"poNo"']],
    'item_info': ['itemInfo', ['"itemCode"']],
    'mold_info': ['moldInfo', ['"moldNo"']],
    'machine_info': ['machineInfo', ['"machineNo"']],
    'resin_info': ['resinInfo', ['"resinCode"']],
    'mold_specification_summary': ['moldSpecificationSummary', ['"itemCode"']],
    'item_composition_summary': [
        'itemCompositionSummary',
        ['"itemCode"', '"plasticResinCode"', '"colorMasterbatchCode"', '"additiveMasterbatchCode"'],
    ],
} %}
with digested as (

    {% for table, (name, key) in keys.items() %}
        select
            '{{ name }}' as table_name,
            to_json(['{{ name }}', {{ key | join('::varchar, ') }}::varchar])::varchar as row_id,
            md5(held::varchar) as row_digest,
        from {{ ref('mart_table_' ~ table) }} as held  -- noqa: AL05, the whole row is digested
        {% if not loop.last %}union all{% endif %}
    {% endfor %}

)

select * from digested
