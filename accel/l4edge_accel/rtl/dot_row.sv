// One row of a tile: the sum of TERMS products, LEVELS + 1 registers behind its inputs, plus one if FINISH.
//
// Binary rows compute sum(+-a) = 2 * sum(a where the weight is +1) - sum(a). The last sum is the same for all rows and
// comes from outside (`shared`), so a row needs no negation. That takes one more register, FINISH, which rows of
// other kinds in the same tile then pass through.
module dot_row #(
    parameter int KIND = 0,
    parameter int BITS = 1,
    parameter int SIGNIFICANT = 0,
    parameter int TERMS = 16,
    parameter int OPERAND = 8,
    parameter int FINISH = 0,
    parameter int ACCUMULATOR = 24,
    parameter int LEVELS = $clog2(TERMS)
) (
    input  wire                             clock,
    input  wire [TERMS*BITS-1:0]            weights,
    input  wire [TERMS*OPERAND-1:0]         activations,
    input  wire signed [OPERAND+LEVELS-1:0] shared,
    output wire signed [ACCUMULATOR-1:0]    sum,
    output wire                             carry
);
    localparam int SHIFTS = KIND < 2 ? 0 : (1 << (BITS - 1 - SIGNIFICANT)) - 2;
    localparam int TERM = KIND == 0 ? OPERAND : KIND == 1 ? OPERAND + BITS
                        : OPERAND + SHIFTS + (KIND == 3 ? SIGNIFICANT + 1 : 0);
    wire [TERMS*TERM-1:0] terms;
    wire [TERMS-1:0] carries;
    wire signed [TERM+LEVELS-1:0] total;
    wire left_over;

    row_products #(.KIND(KIND), .BITS(BITS), .SIGNIFICANT(SIGNIFICANT), .TERMS(TERMS), .OPERAND(OPERAND), .TERM(TERM))
        products(.clock(clock), .weights(weights), .activations(activations), .terms(terms), .carries(carries));
    adder_tree #(.TERMS(TERMS), .TERM(TERM))
        tree(.clock(clock), .terms(terms), .carries(carries), .sum(total), .carry(left_over));

    generate
        if (FINISH == 0) begin : direct
            assign sum = total;
            assign carry = left_over;
        end else begin : finished
            reg signed [TERM+LEVELS:0] result;
            reg pending;
            if (KIND == 0) begin : binary
                wire signed [TERM+LEVELS:0] twice = {total, 1'b0};
                always_ff @(posedge clock) result <= twice - shared;
            end else begin : other
                always_ff @(posedge clock) result <= total;
            end
            always_ff @(posedge clock) pending <= left_over;
            assign sum = result;
            assign carry = pending;
        end
    endgenerate
endmodule
